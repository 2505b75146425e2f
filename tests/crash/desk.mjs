// What callers ask for that no account has a part in: API keys, MCP sessions, subscriptions. What was answered must be there after
// any crash.
import { request } from 'node:http';
import { join } from 'node:path';
import { pause } from '../interop/lib/wait.mjs';
import { Door, Refused } from './door.mjs';

const ACCEPT = 'application/json, text/event-stream';

export class Desk {
  keys = [];
  sessions = [];
  subscriptions = [];

  constructor(world) {
    this.world = world;
  }

  /** Through the operator's socket, as `parleyctl key new` does it. */
  #makeKey(name) {
    const body = JSON.stringify({ world: 'test', name });
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const socketPath = join(this.world.parleyd.data, 'operator.sock');
    return new Promise((resolve, reject) => {
      const asking = request({ socketPath, path: '/v1/keys', method: 'POST', headers, timeout: 10_000 }, (response) => {
        let text = '';
        response.on('data', (chunk) => (text += chunk));
        response.on('error', reject);
        response.on('end', () => (response.statusCode === 200 ? resolve(JSON.parse(text).key) : reject(new Error(`a key: ${response.statusCode} ${text}`))));
      });
      asking.on('error', reject);
      asking.on('timeout', () => asking.destroy(new Error('a key took too long')));
      asking.end(body);
    });
  }

  #mcp(session, message) {
    const headers = { ...this.world.door.headers, accept: ACCEPT, 'content-type': 'application/json' };
    if (session) headers['mcp-session-id'] = session;
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, ...message });
    return fetch(new URL('/mcp', this.world.door.url), { method: 'POST', headers, body, signal: AbortSignal.timeout(10_000) });
  }

  async #makeSession() {
    const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'crash', version: '1' } };
    const response = await this.#mcp(undefined, { method: 'initialize', params });
    await response.text();
    const id = response.headers.get('mcp-session-id');
    if (!response.ok || !id) throw new Error(`a session: ${response.status}`);
    return id;
  }

  /** One of each; what a kill cuts off was promised to nobody. */
  async ask() {
    const made = async (list, promise) => promise.then((value) => list.push(value), () => {});
    await made(this.keys, this.#makeKey(`key ${this.keys.length + 1}`));
    await made(this.sessions, this.#makeSession());
    if (this.subscriptions.length < 8)
      await made(this.subscriptions, this.world.door.ask('POST', '/v1/subscriptions', { events: ['message.*'] }).then(({ id }) => id));
    await this.world.door.ask('GET', `/v1/chats?account_id=${this.world.accounts[0].id}`).catch(() => {});
  }

  /** Once more every now and then, until `over` says so. */
  async askUntil(over) {
    while (!over()) {
      await this.ask();
      await pause(100 + Math.random() * 100);
    }
  }

  /** What is not there any more, in words. `newest`: of each kind. */
  async missing(newest) {
    const words = [];
    for (const key of this.keys.slice(-newest))
      await new Door(this.world.door.url, key).ask('GET', '/v1/accounts').catch((error) => {
        if (error instanceof Refused && error.status === 401) words.push(`a key that was given out opens nothing: ${key.slice(0, 16)}…`);
        else throw error;
      });
    for (const session of this.sessions.slice(-newest)) {
      const response = await this.#mcp(session, { method: 'ping' });
      await response.text();
      if (response.status === 404) words.push(`the session ${session} is gone`);
    }
    const { subscriptions } = await this.world.door.ask('GET', '/v1/subscriptions');
    for (const id of this.subscriptions)
      if (!subscriptions.some((other) => other.id === id)) words.push(`the subscription ${id} is gone`);
    return words;
  }
}
