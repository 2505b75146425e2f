// What callers ask for that no account of the traffic has a part in: API keys, MCP sessions, subscriptions, and accounts that are to
// be paired, each under a key of its own. What was answered must be there after any crash, and a pairing that is asked for again is
// the one that there is.
import { request } from 'node:http';
import { join } from 'node:path';
import { pause } from '../interop/lib/wait.mjs';
import { Door, Refused } from './door.mjs';

const ACCEPT = 'application/json, text/event-stream';

export class Desk {
  keys = [];
  sessions = [];
  subscriptions = [];

  pairings = new Map(); // idempotency key -> the account's id; undefined while no answer has come
  again = { answered: 0, cut: 0 }; // pairings asked for again behind a kill that had been answered, and that had not

  /** `pairs`: also starts to pair accounts, which nobody scans. */
  constructor(world, { pairs = false } = {}) {
    Object.assign(this, { world, pairs });
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

  async #startPairing() {
    const key = `pairing ${this.pairings.size + 1}`;
    this.pairings.set(key, undefined);
    this.pairings.set(key, (await this.world.door.ask('POST', '/v1/accounts', { idempotency_key: key })).account_id);
  }

  /** One of each; what a kill cuts off was promised to nobody. */
  async ask() {
    const made = async (list, promise) => promise.then((value) => list.push(value), () => {});
    await made(this.keys, this.#makeKey(`key ${this.keys.length + 1}`));
    await made(this.sessions, this.#makeSession());
    if (this.subscriptions.length < 8)
      await made(this.subscriptions, this.world.door.ask('POST', '/v1/subscriptions', { events: ['message.*'] }).then(({ id }) => id));
    if (this.pairs && Math.random() < 0.3) await this.#startPairing().catch(() => {});
    await this.world.door.ask('GET', `/v1/chats?account_id=${this.world.accounts[0].id}`).catch(() => {});
  }

  /** Once more every now and then, until `over` says so. */
  async askUntil(over) {
    while (!over()) {
      await this.ask();
      await pause(100 + Math.random() * 100);
    }
  }

  async #repeatPairing(key, words) {
    const before = this.pairings.get(key);
    const { account_id: now, status, code } = await this.world.door.insist('/v1/accounts', { idempotency_key: key });
    if (before && now !== before) words.push(`${key} was paired twice: it was answered ${before} and now ${now}`);
    if (status !== 'pairing' || !code) words.push(`${key} is answered without a code: ${status}`);
    this.pairings.set(key, now);
  }

  /** Every key has one account, the one that was answered, and there are no others. */
  async #wrongPairings(newest) {
    const words = [];
    const keys = [...this.pairings.keys()];
    const some = Array.from({ length: Math.min(newest, keys.length) }, () => keys[Math.floor(Math.random() * keys.length)]);
    const unanswered = keys.filter((key) => !this.pairings.get(key));
    for (const key of new Set([...some, ...unanswered, ...keys.slice(-newest)])) {
      this.again[this.pairings.get(key) ? 'answered' : 'cut']++;
      await this.#repeatPairing(key, words);
    }
    const next = `pairing ${this.pairings.size + 1}`; // answered before the next kill, whatever else is
    await this.#repeatPairing(next, words);
    await this.#repeatPairing(next, words);
    const known = new Map([...this.world.accounts.map(({ id }) => [id, 'traffic']), ...[...this.pairings].map(([key, id]) => [id, key])]);
    const ids = await this.#accounts();
    for (const id of ids) if (!known.has(id)) words.push(`the account ${id} was paired twice: no call was answered with it`);
    for (const [id, key] of known) if (!ids.includes(id)) words.push(`the account ${id} of ${key} is gone`);
    if (known.size !== this.world.accounts.length + this.pairings.size) words.push('two keys were answered with one account');
    return words;
  }

  async #accounts() {
    const ids = [];
    for (let cursor = ''; cursor !== null; ) {
      const page = await this.world.door.ask('GET', `/v1/accounts?limit=200${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
      ids.push(...page.accounts.map(({ id }) => id));
      cursor = page.next_cursor ?? null;
    }
    return ids;
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
    if (this.pairs) words.push(...(await this.#wrongPairings(newest)));
    return words;
  }

  summary(rounds) {
    const { answered, cut } = this.again;
    if (rounds > 1 && answered === 0) throw new Error('no pairing was asked for again behind a kill');
    return `pairings ${this.pairings.size}, asked for again behind a kill ${answered + cut} times (${cut} without an answer before)`;
  }
}
