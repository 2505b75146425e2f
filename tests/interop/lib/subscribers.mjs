// Unmodified MCP clients as subscribers. Each collects the events it is pushed and can call tools.
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport as StreamableV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { LoggingMessageNotificationSchema, ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { Client as ClientV2, StreamableHTTPClientTransport as StreamableV2 } from '@modelcontextprotocol/client';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { Child } from './process.mjs';
import { interop } from './paths.mjs';
import { Feed, pause, within } from './wait.mjs';

export const EVENTS_URI = 'whatsapp://events';

/** Short waits, many tries: a killed server is back within seconds. */
const PATIENCE = { initialReconnectionDelay: 100, maxReconnectionDelay: 500, reconnectionDelayGrowFactor: 1.2, maxRetries: 1000 };

const INFO = { name: 'parley-interop', version: '1.0.0' };

export class ToolError extends Error {
  constructor(tool, body) {
    super(`${tool}: ${body.code ?? ''} ${body.message ?? JSON.stringify(body)}`.trim());
    this.code = body.code;
    this.body = body;
  }
}

/** What every subscriber has: the pushed events in `events`, anything else that was pushed in `notices`. */
class Subscriber {
  events = new Feed();
  notices = [];
  errors = [];

  /** `fetch` is the way to the server, where there is something in between. */
  constructor({ url, key, name, dir, fetch = globalThis.fetch }) {
    this.base = url;
    this.key = key;
    this.name = name;
    this.dir = dir;
    this.fetch = fetch;
  }

  get headers() {
    return { authorization: `Bearer ${this.key}` };
  }

  /** An event comes as log data, or in the _meta of a resource update under the server's own name. */
  take(body) {
    const isEvent = body && typeof body === 'object' && body.event && body.event_id;
    if (isEvent) this.events.push(body);
    else this.notices.push(body);
    if (this.dir) appendFileSync(join(this.dir, `${this.name}.events`), `${new Date().toISOString()} ${JSON.stringify(body)}\n`);
  }

  takeMeta(params) {
    const found = Object.values(params._meta ?? {}).find((value) => value?.event && value?.event_id);
    this.take(found ?? params);
  }

  /** The next event with that name whose members (and those of its data) are these. */
  event(name, members = {}, ms = 20_000, from = 0) {
    const fits = (event) =>
      event.event === name && Object.entries(members).every(([key, value]) => (event.data?.[key] ?? event[key]) === value);
    return this.events.first(ms, `${this.name}: ${name} ${JSON.stringify(members)}`, fits, from).catch((error) => {
      const recent = this.events.items.slice(-5).map((event) => JSON.stringify(event));
      error.message += `\n  events: ${recent.join('\n          ') || 'none'}\n  errors: ${this.errors.slice(-3).join('; ')}`;
      throw error;
    });
  }

  /** Calls a tool; answers its structured result, or throws its error body. */
  async call(tool, args = {}, ms = 30_000) {
    const result = await within(ms, `${this.name}: ${tool} to answer`, this.request(tool, args, ms));
    this.lastResult = result;
    if (!result.isError) return result.structuredContent ?? parse(result.content?.[0]?.text);
    const body = result.structuredContent ?? parse(result.content?.[0]?.text);
    throw new ToolError(tool, body?.error ?? body ?? {});
  }

  get seqs() {
    return this.events.items.map(({ seq }) => seq);
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What the two transports of the v1 SDK share. */
class V1 extends Subscriber {
  async connectBy(transport) {
    this.transport = transport;
    this.client = new ClientV1(INFO, { capabilities: {} });
    this.client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => this.take(params.data));
    this.client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => this.takeMeta(params));
    this.client.onerror = (error) => this.errors.push(error.message);
    await within(15_000, `${this.name} to connect`, this.client.connect(transport));
    return this;
  }

  request(tool, args, ms) {
    return this.client.callTool({ name: tool, arguments: args }, undefined, { timeout: ms });
  }

  listTools() {
    return this.client.listTools();
  }

  subscribeResource(uri) {
    return this.client.subscribeResource({ uri });
  }

  close() {
    return this.client.close();
  }
}

/** TypeScript SDK v1 over streamable HTTP: one session, its GET stream resumes by itself. */
export class StreamableSubscriber extends V1 {
  connect() {
    return this.connectBy(new StreamableV1(new URL('/mcp', this.base), {
      fetch: this.fetch, requestInit: { headers: this.headers }, reconnectionOptions: PATIENCE,
    }));
  }

  get sessionId() {
    return this.transport.sessionId;
  }
}

/** TypeScript SDK v1 over HTTP+SSE of 2024-11-05: a broken stream ends the session, so it opens another. */
export class LegacySseSubscriber extends V1 {
  connect() {
    const headers = this.headers;
    const withKey = (url, init) => this.fetch(url, { ...init, headers: { ...Object.fromEntries(new Headers(init?.headers)), ...headers } });
    return this.connectBy(new SSEClientTransport(new URL('/sse', this.base), {
      fetch: this.fetch, requestInit: { headers }, eventSourceInit: { fetch: withKey },
    }));
  }
}

/** TypeScript SDK v2 in the stateless era: events come on a `subscriptions/listen` stream, which has no replay. */
export class ListenSubscriber extends Subscriber {
  async connect() {
    this.client = new ClientV2(INFO, { capabilities: {}, versionNegotiation: { mode: { pin: '2026-07-28' } } });
    this.client.setNotificationHandler('notifications/resources/updated', ({ params }) => this.takeMeta(params));
    this.client.onerror = (error) => this.errors.push(error.message);
    const transport = new StreamableV2(new URL('/mcp', this.base), { fetch: this.fetch, requestInit: { headers: this.headers } });
    await within(15_000, `${this.name} to connect`, this.client.connect(transport));
    return this;
  }

  async listen(uris = [EVENTS_URI]) {
    this.subscription = await this.client.listen({ resourceSubscriptions: uris });
    return this.subscription.honoredFilter;
  }

  request(tool, args, ms) {
    return this.client.callTool({ name: tool, arguments: args }, { timeout: ms });
  }

  listTools() {
    return this.client.listTools();
  }

  async close() {
    await this.subscription?.close();
    await this.client.close();
  }
}

/** The Python SDK, in a process of its own. */
export class PythonSubscriber extends Subscriber {
  #next = 1;
  #waiting = new Map();

  async connect() {
    const env = { PARLEY_URL: this.base, PARLEY_API_KEY: this.key };
    const args = [join(interop, 'python/subscriber.py')];
    const opened = new Promise((resolve, reject) => {
      this.child = new Child({
        program: process.env.PARLEY_PYTHON, args, env, dir: this.dir, logName: this.name, onLine: (line) => this.#take(JSON.parse(line), resolve),
      });
      this.child.ended.then(() => reject(new Error(`${this.name} ended: ${this.child.describeEnd()}`)));
    });
    await within(20_000, `${this.name} to connect`, opened);
    return this;
  }

  #take(message, opened) {
    if (message.event === 'open') opened();
    if (message.event === 'notification') this.take(message.data);
    if (message.event === 'meta') this.takeMeta(message.params);
    if (message.event === 'answer') {
      const { resolve, reject } = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error) reject(new Error(message.error));
      else resolve(message.result);
    }
  }

  #ask(method, params) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.child.writeLine(JSON.stringify({ id, method, ...params }));
    });
  }

  request(tool, args) {
    return this.#ask('call', { tool, arguments: args });
  }

  subscribeResource(uri) {
    return this.#ask('subscribe', { uri });
  }

  close() {
    return this.child.stop();
  }
}

/** `GET /v1/events` read as any script would: on a broken stream it asks again with the last id it saw. */
export class EventsReader extends Subscriber {
  #closed = new AbortController();
  lastId = undefined;

  async connect() {
    await within(15_000, `${this.name} to connect`, new Promise((resolve, reject) => this.#run(resolve, reject)));
    return this;
  }

  async #run(opened, refused) {
    while (!this.#closed.signal.aborted) {
      try {
        await this.#read(opened);
      } catch (error) {
        if (error.final) return refused(error);
        this.errors.push(error.message);
      }
      await pause(100);
    }
  }

  async #read(opened) {
    const headers = { ...this.headers, accept: 'text/event-stream', ...(this.lastId ? { 'last-event-id': this.lastId } : {}) };
    const response = await this.fetch(new URL('/v1/events', this.base), { headers, signal: this.#closed.signal });
    if (!response.ok) {
      const error = new Error(`/v1/events: ${response.status} ${await response.text()}`);
      error.final = response.status < 500;
      throw error;
    }
    opened();
    for await (const frame of framesOf(response.body)) {
      if (frame.id !== undefined) this.lastId = frame.id;
      if (frame.data !== undefined && frame.data !== '') this.take(parse(frame.data));
    }
  }

  async close() {
    this.#closed.abort();
  }
}

/** The frames of an event stream: `{id, event, data}`. */
async function* framesOf(body) {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    for (let end; (end = /\r?\n\r?\n/.exec(text)); ) {
      const frame = frameOf(text.slice(0, end.index));
      text = text.slice(end.index + end[0].length);
      yield frame;
    }
  }
}

function frameOf(block) {
  const frame = {};
  for (const line of block.split(/\r?\n/)) {
    const [, field, value] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
    if (!field) continue;
    frame[field] = field === 'data' && frame.data !== undefined ? `${frame.data}\n${value ?? ''}` : (value ?? '');
  }
  return frame;
}

/** Where each tool that the cases call stands in REST: method and path, whose braces name arguments. */
const routes = {
  pair_account: 'POST /v1/accounts',
  list_accounts: 'GET /v1/accounts',
  get_account: 'GET /v1/accounts/{account_id}',
  get_account_status: 'GET /v1/accounts/{account_id}/status',
  reconnect_account: 'POST /v1/accounts/{account_id}/reconnect',
  logout_account: 'POST /v1/accounts/{account_id}/logout',
  send_message: 'POST /v1/messages',
  list_messages: 'GET /v1/chats/{chat_id}/messages',
  open_chat: 'POST /v1/chats',
  mark_chat_read: 'POST /v1/chats/{chat_id}/read',
  list_events: 'GET /v1/events/log',
};

/** A script without MCP: tools by REST, events by `GET /v1/events`. */
export class RestSubscriber extends EventsReader {
  async call(tool, args = {}, ms = 30_000) {
    const rest = { ...args };
    const [method, template] = routes[tool].split(' ');
    const path = template.replace(/\{(\w+)\}/g, (_, name) => {
      const value = rest[name];
      delete rest[name];
      return encodeURIComponent(value);
    });
    const url = new URL(path, this.base);
    const init = { method, headers: { ...this.headers }, signal: AbortSignal.timeout(ms) };
    if (method === 'GET') for (const [name, value] of Object.entries(rest)) url.searchParams.set(name, value);
    else Object.assign(init, { body: JSON.stringify(rest), headers: { ...init.headers, 'content-type': 'application/json' } });
    const response = await this.fetch(url, init);
    const body = parse(await response.text());
    if (!response.ok) throw new ToolError(tool, body);
    return body;
  }
}
