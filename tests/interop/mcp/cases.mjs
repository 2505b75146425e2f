// The MCP door against unmodified SDK clients of every era, and against what only a server with several workers can get
// wrong. What WhatsApp adds is the business of the cases in ../cases.
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport as SseV1 } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { Client as ClientV2, SSEClientTransport as SseV2, StreamableHTTPClientTransport as HttpV2 } from '@modelcontextprotocol/client';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { check, same } from '../lib/context.mjs';
import { interop } from '../lib/paths.mjs';
import { ListenSubscriber, PythonSubscriber, StreamableSubscriber } from '../lib/subscribers.mjs';
import { pause, until, within } from '../lib/wait.mjs';
import { Connection } from './raw.mjs';
import { storm } from './storm.mjs';
import { thousand } from './thousand.mjs';

const PHONE = '15550003000';
const INFO = { name: 'parley-interop', version: '1.0.0' };
const MODERN = '2026-07-28';
const surface = JSON.parse(readFileSync(join(interop, '../surface.json'), 'utf8')).toolsets.native;
const PROMISED = { ...surface.tools, ...surface.beyond_the_seed };

// --- every SDK, every negotiation ---------------------------------------------------------------------------------

function withKey(key) {
  const headers = { authorization: `Bearer ${key}` };
  const fetchWithKey = (url, init) => fetch(url, { ...init, headers: { ...Object.fromEntries(new Headers(init?.headers)), ...headers } });
  return { requestInit: { headers }, eventSourceInit: { fetch: fetchWithKey } };
}

/** name → a connected client. `era` and `revision` are what it must end up with; SSE's first client does not tell. */
const clients = {
  'v1-http': { era: 'sessions', revision: '2025-11-25', make: (url, key) => [new ClientV1(INFO), new HttpV1(new URL('/mcp', url), withKey(key))] },
  'v1-sse': { era: 'sessions', make: (url, key) => [new ClientV1(INFO), new SseV1(new URL('/sse', url), withKey(key))] },
  'v2-legacy': { era: 'sessions', revision: '2025-11-25', make: (url, key) => [new ClientV2(INFO), new HttpV2(new URL('/mcp', url), withKey(key))] },
  'v2-auto': { era: 'modern', revision: MODERN, make: (url, key) => [v2({ mode: 'auto' }), new HttpV2(new URL('/mcp', url), withKey(key))] },
  'v2-pin': { era: 'modern', revision: MODERN, make: (url, key) => [v2({ mode: { pin: MODERN } }), new HttpV2(new URL('/mcp', url), withKey(key))] },
  'v2-sse': { era: 'sessions', revision: '2025-11-25', make: (url, key) => [new ClientV2(INFO), new SseV2(new URL('/sse', url), withKey(key))] },
};

function v2(versionNegotiation) {
  return new ClientV2(INFO, { capabilities: {}, versionNegotiation });
}

async function everyMethod(t, { era, revision, make }) {
  const parleyd = await t.parleyd({ workers: 4 });
  const [client, transport] = make(parleyd.url, parleyd.testKey);
  const errors = [];
  client.onerror = (error) => errors.push(error.message);
  await within(15_000, 'the client to connect', client.connect(transport));
  t.atEnd(() => client.close());

  same(client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion, revision, 'the revision that was agreed on');
  same(client.getServerVersion()?.name, 'parley', 'the name of the server');
  check(client.getInstructions()?.includes('list_accounts'), 'the instructions');
  await tools(client, era);
  await resources(client, era);
  await prompts(client);
  if (era === 'sessions') await sessionOnly(client);
  await timed(client);
  same(errors, [], 'errors that the client reported');
}

async function tools(client, era) {
  const { tools: list } = await client.listTools();
  const wrong = list.filter(({ name }) => !PROMISED[name]).map(({ name }) => name);
  same(wrong, [], 'tools that nobody promised');
  check(list.length >= 20, `there are only ${list.length} tools`);
  same((await client.listTools()).tools.map(({ name }) => name), list.map(({ name }) => name), 'the order of the tools');

  const good = await client.callTool({ name: 'list_accounts', arguments: {} });
  same(good.structuredContent.accounts, [], 'structuredContent');
  same(JSON.parse(good.content[0].text), good.structuredContent, 'the text is the same value');
  const bad = await client.callTool({ name: 'get_account', arguments: { account_id: 'nonsense' } });
  check(bad.isError, 'a bad argument is no error');
  same(JSON.parse(bad.content[0].text).code, 'invalid_request', 'the code of the problem');
  const unknown = await client.callTool({ name: 'no_such_tool', arguments: {} }).catch((error) => error);
  same(unknown.code, -32602, `the code of an unknown tool (${era}): ${unknown.message ?? JSON.stringify(unknown)}`);
}

async function resources(client) {
  const { resources: list } = await client.listResources();
  same(list.map(({ uri }) => uri), ['whatsapp://events', 'whatsapp://accounts'], 'the resources');
  const { resourceTemplates } = await client.listResourceTemplates();
  same(resourceTemplates.length, 4, 'templates');
  const read = await client.readResource({ uri: 'whatsapp://accounts' });
  same(JSON.parse(read.contents[0].text), { accounts: [], next_cursor: null }, 'what a resource holds');
  const missing = await client.readResource({ uri: 'whatsapp://nothing' }).catch((error) => error);
  check([-32002, -32602].includes(missing.code), `reading nothing: ${missing.message}`);
}

async function prompts(client) {
  const { prompts: list } = await client.listPrompts();
  check(list.some(({ name }) => name === 'draft_reply'), 'the prompts');
  const prompt = await client.getPrompt({ name: 'draft_reply', arguments: { chat_id: 'chat_1' } });
  check(prompt.messages[0].content.text.includes('chat_1'), 'the text of a prompt');
  const { completion } = await client.complete({
    ref: { type: 'ref/resource', uri: 'whatsapp://events/{name}' }, argument: { name: 'name', value: 'message.re' },
  });
  check(completion.values.includes('message.received'), `completion: ${JSON.stringify(completion)}`);
}

async function sessionOnly(client) {
  await client.ping();
  await client.setLoggingLevel('info');
  await client.subscribeResource({ uri: 'whatsapp://events' });
  await client.unsubscribeResource({ uri: 'whatsapp://events' });
  const refused = await client.subscribeResource({ uri: 'whatsapp://nothing' }).catch((error) => error);
  // The second SDK shows the older code as the newer one.
  check([-32002, -32602].includes(refused.code), `subscribing to nothing: ${refused.message}`);
}

/** Progress while a call waits, and a call that its caller gives up. */
async function timed(client) {
  const seen = [];
  const onprogress = ({ progress }) => seen.push(progress);
  const waited = await callTool(client, { name: 'wait_for_event', arguments: { timeout_ms: 2500 } }, { onprogress });
  same(waited.structuredContent.timed_out, true, 'an event that nobody sent');
  check(seen.length > 0 && seen.every((value, i) => value > (seen[i - 1] ?? 0)), `progress: ${seen}`);

  const giveUp = new AbortController();
  setTimeout(() => giveUp.abort(), 300);
  const before = Date.now();
  await callTool(client, { name: 'wait_for_event', arguments: { timeout_ms: 20_000 } }, { signal: giveUp.signal }).then(
    () => check(false, 'a call that was given up answered'), () => {});
  check(Date.now() - before < 5000, 'giving up took long');
  same((await client.callTool({ name: 'list_accounts', arguments: {} })).structuredContent.accounts, [], 'the next call');
}

/** The v1 client has the schema of the result between the two. */
function callTool(client, call, options) {
  return client instanceof ClientV1 ? client.callTool(call, undefined, options) : client.callTool(call, options);
}

// --- one session on four workers -----------------------------------------------------------------------------------

async function fourWorkers(t) {
  const sim = await t.sim();
  const parleyd = await t.parleyd({ sim, workers: 4 });
  const door = { url: parleyd.url, key: parleyd.testKey };
  const [first, second, third, fourth] = [1, 2, 3, 4].map(() => new Connection(door));
  t.atEnd(() => [first, second, third, fourth].forEach((connection) => connection.close()));
  // Each connection goes to the worker with the fewest, so four that stay open are one on each.
  for (const connection of [first, second, third, fourth]) same((await connection.ask('GET', '/livez')).status, 200, 'livez');

  const session = await first.open();
  for (const connection of [second, third, fourth])
    same((await connection.post(session, { id: 1, method: 'ping' })).status, 200, 'a ping on another worker');
  const stream = await second.listen(session);
  same(stream.status, 200, 'the stream on the second worker');
  const again = new Connection(door);
  t.atEnd(() => again.close());
  same((await again.listen(session)).status, 409, 'a second stream');

  await third.post(session, { id: 2, method: 'tools/call', params: { name: 'subscribe_events', arguments: { events: ['*'] } } });
  const { account_id: account, code } = await pairing(third, session);
  const uri = `whatsapp://accounts/${account}`;
  await fourth.post(session, { id: 3, method: 'resources/subscribe', params: { uri } });
  await sim.addPhone(PHONE, 'Four');
  await sim.scan(PHONE, code);
  await stream.messages.first(10_000, 'account.connected on the stream', ({ params }) =>
    params?.data?.event === 'account.connected' && params.data.account_id === account);
  await stream.messages.first(10_000, 'the update of the account', ({ method, params }) =>
    method === 'notifications/resources/updated' && params.uri === uri);

  const before = Date.now();
  const waiting = first.post(session, { id: 'w', method: 'tools/call', params: { name: 'wait_for_event', arguments: { timeout_ms: 25_000 } } });
  await pause(500);
  same((await third.post(session, { method: 'notifications/cancelled', params: { requestId: 'w' } })).status, 202, 'the cancellation');
  const cancelled = await waiting;
  same(cancelled.messages, [], 'what a cancelled call answers');
  check(Date.now() - before < 5000, 'the cancellation did not reach the call');

  same((await fourth.ask('DELETE', '/mcp', { 'mcp-session-id': session })).status, 200, 'the end of the session');
  await until(5000, 'the stream to end', async () => stream.closed);
  for (const connection of [first, third, fourth])
    same((await connection.post(session, { id: 5, method: 'ping' })).status, 404, 'the session after its end');
}

async function pairing(connection, session) {
  const paired = await connection.post(session, { id: 'p', method: 'tools/call', params: { name: 'pair_account', arguments: {} } });
  const { result } = paired.messages.find(({ id }) => id === 'p');
  check(!result.isError, `pair_account: ${result.content?.[0]?.text}`);
  same(result.content[1]?.mimeType, 'image/png', 'the picture of the code');
  return result.structuredContent;
}

// --- what a restart leaves -----------------------------------------------------------------------------------------

/** The call that ran while the process was killed fails at once instead of hanging until its time-out. */
async function lostAnswer(t) {
  const parleyd = await t.parleyd({ workers: 2 });
  const agent = await new StreamableSubscriber({ url: parleyd.url, key: parleyd.testKey, name: 'agent' }).connect();
  t.atEnd(() => agent.close());
  const session = agent.sessionId;
  const call = agent.call('wait_for_event', { timeout_ms: 25_000 }, 60_000).then(() => 'answered', (error) => error.message);
  await pause(3000);
  await parleyd.kill();
  await parleyd.start();
  const outcome = await within(15_000, 'the call to fail', call);
  check(/lost|restarted/.test(outcome), `the call that was lost: ${outcome}`);
  same((await agent.call('list_accounts')).accounts, [], 'the session goes on');
  same(agent.sessionId, session, 'the session');
}

/** Sessions, their subscriptions and their level outlive the process, for every revision. */
async function restarts(t) {
  const parleyd = await t.parleyd({ workers: 2 });
  const door = { url: parleyd.url, key: parleyd.testKey };
  const sessions = {};
  for (const revision of ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']) {
    const connection = new Connection(door);
    sessions[revision] = await connection.open(revision);
    await connection.post(sessions[revision], { id: 1, method: 'resources/subscribe', params: { uri: 'whatsapp://events' } });
    connection.close();
  }
  await parleyd.kill();
  await parleyd.start();
  for (const [revision, session] of Object.entries(sessions)) {
    const connection = new Connection(door);
    const stream = await connection.listen(session, 'g-0');
    same(stream.status, 200, `the stream of a ${revision} session after a restart`);
    const other = new Connection({ ...door, key: parleyd.liveKey });
    same((await other.post(session, { id: 1, method: 'ping' })).status, 404, 'the session under another key');
    connection.close();
    other.close();
  }
}

// --- the list ------------------------------------------------------------------------------------------------------

async function python(t) {
  const parleyd = await t.parleyd({ workers: 2 });
  const agent = await new PythonSubscriber({ url: parleyd.url, key: parleyd.testKey, name: 'python', dir: t.dir }).connect();
  t.atEnd(() => agent.close());
  same((await agent.call('list_accounts')).accounts, [], 'list_accounts');
  await agent.subscribeResource('whatsapp://events');
  const refused = await agent.call('get_account', { account_id: 'x' }).catch((error) => error);
  same(refused.code, 'invalid_request', `a bad argument: ${refused.message}`);
  same((await agent.call('wait_for_event', { timeout_ms: 3000 })).timed_out, true, 'a call whose answer is a stream');
}

async function listens(t) {
  const parleyd = await t.parleyd({ workers: 2 });
  const agent = await new ListenSubscriber({ url: parleyd.url, key: parleyd.testKey, name: 'modern' }).connect();
  t.atEnd(() => agent.close());
  const honoured = await agent.listen(['whatsapp://events', 'whatsapp://nothing', 'whatsapp://events/message.*']);
  same(honoured.resourceSubscriptions, ['whatsapp://events', 'whatsapp://events/message.*'], 'the honoured filter');
}

export const mcpCases = [
  ...Object.entries(clients).map(([name, client]) => ({
    name: `mcp-${name}`,
    about: `TypeScript SDK ${name}: every method, progress, a call given up`,
    needs: ['parleyd'],
    run: (t) => everyMethod(t, client),
  })),
  { name: 'mcp-python', about: 'the Python SDK: calls, subscriptions, an answer that is a stream', needs: ['parleyd', 'python'], run: python },
  { name: 'mcp-listen', about: 'subscriptions/listen honours what it can', needs: ['parleyd'], run: listens },
  {
    name: 'mcp-four-workers',
    about: 'four connections on four workers are one session: requests, its stream, a cancellation, its end',
    needs: ['sim', 'parleyd'],
    run: fourWorkers,
  },
  {
    name: 'mcp-storm',
    about: '24 sessions whose streams break and are taken over at random see every event once and in order',
    needs: ['sim', 'parleyd'],
    run: storm,
  },
  { name: 'mcp-thousand', about: 'a thousand listening streams hear every event once and in order', needs: ['sim', 'parleyd'], run: thousand },
  { name: 'mcp-lost-answer', about: 'a call that ran while parleyd was killed fails at once', needs: ['parleyd'], run: lostAnswer },
  { name: 'mcp-restart', about: 'sessions of every revision outlive the process, for their key alone', needs: ['parleyd'], run: restarts },
];
