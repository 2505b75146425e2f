// Many sessions whose connections break, stall and are taken over at random while events come and calls are given up:
// each session must still see every event once and in order.
import { check, same } from '../lib/context.mjs';
import { StreamableSubscriber } from '../lib/subscribers.mjs';
import { pairAccount, wholeLog } from '../lib/tools.mjs';
import { pause, until } from '../lib/wait.mjs';
import { Connection } from './raw.mjs';

const ACCOUNT = '15550003100';
const WRITER = '15550003101';
const LISTENERS = 24;
const STORM_MS = 8000;

const random = (max) => Math.floor(Math.random() * max);

class Listener {
  seqs = [];
  breaks = 0;

  constructor(door, index) {
    this.door = door;
    this.byUri = index % 2 === 0;
  }

  async open() {
    const connection = new Connection(this.door);
    this.session = await connection.open();
    // The others hear what subscribe_events chose for the key.
    if (this.byUri) await connection.post(this.session, { id: 1, method: 'resources/subscribe', params: { uri: 'whatsapp://events' } });
    connection.close();
    await this.#connect();
  }

  /** What a stream says counts until the next one is opened with its last id: the old one may still be talking. */
  async #connect() {
    const connection = new Connection(this.door);
    const old = this.stream;
    if (old) this.#read();
    const from = this.lastId;
    this.stream = undefined;
    const stream = await connection.listen(this.session, from);
    same(stream.status, 200, 'a stream that comes back');
    Object.assign(this, { stream, taken: 0, connection, lastId: from });
    return old;
  }

  #read() {
    const { items } = this.stream.messages;
    for (; this.taken < items.length; this.taken++) {
      const { params } = items[this.taken];
      check(!params.data?.gap, 'a gap in a log that keeps everything');
      this.seqs.push((params.data ?? params._meta['parley/event']).seq);
    }
    this.lastId = this.stream.lastId;
  }

  async live(end) {
    while (Date.now() < end) {
      await pause(50 + random(700));
      const before = this.connection;
      if (random(3)) before.close(); // broken; else the next takes over from one that lives
      await this.#connect();
      before.close();
      this.breaks++;
    }
  }

  async finish(last) {
    await until(20_000, `event ${last}`, async () => {
      if (this.stream.closed) await this.#connect();
      this.#read();
      return this.seqs.at(-1) >= last;
    });
    this.connection.close();
  }
}

/** Calls that are begun and given up, sessions that come and go. */
async function unrest(door, end) {
  let n = 0;
  while (Date.now() < end) {
    const [caller, canceller] = [new Connection(door), new Connection(door)];
    const session = await caller.open();
    const call = caller.post(session, { id: ++n, method: 'tools/call', params: { name: 'wait_for_event', arguments: { events: ['account.unpaired'] } } }).catch(() => {});
    await pause(random(200));
    if (n % 3 === 0) caller.close();
    else await canceller.post(session, { method: 'notifications/cancelled', params: { requestId: n } });
    if (n % 3 === 1) await call;
    await canceller.ask('DELETE', '/mcp', { 'mcp-session-id': session });
    caller.close();
    canceller.close();
  }
  return n;
}

async function write(sim, end) {
  let n = 0;
  while (Date.now() < end) await sim.phoneSends(WRITER, ACCOUNT, `storm ${++n}`);
  return n;
}

export async function storm(t) {
  const sim = await t.sim();
  const parleyd = await t.parleyd({ sim, workers: 4 });
  const door = { url: parleyd.url, key: parleyd.testKey };
  const agent = await new StreamableSubscriber({ ...door, name: 'agent' }).connect();
  t.atEnd(() => agent.close());
  await agent.call('subscribe_events', { events: ['*'] });
  await sim.addPhone(ACCOUNT, 'Parley');
  await sim.addPhone(WRITER, 'Writer');
  await pairAccount(agent, sim, ACCOUNT);

  const listeners = Array.from({ length: LISTENERS }, (_, index) => new Listener(door, index));
  for (const listener of listeners) await listener.open();
  const start = (await wholeLog(agent)).at(-1).seq;
  const end = Date.now() + STORM_MS;
  const [written] = await Promise.all([write(sim, end), unrest(door, end), unrest(door, end), ...listeners.map((listener) => listener.live(end))]);
  await until(20_000, 'the last message in the log', async () => (await wholeLog(agent, start)).length >= written);
  const log = (await wholeLog(agent, start)).map(({ seq }) => seq);
  for (const [index, listener] of listeners.entries()) {
    await listener.finish(log.at(-1));
    same(listener.seqs.filter((seq) => seq > start), log, `what listener ${index} saw after ${listener.breaks} breaks`);
  }
  check(log.length >= written && log.length > 100, `only ${log.length} events`);
  console.log(`  ${log.length} events, ${LISTENERS} listeners, ${listeners.reduce((sum, { breaks }) => sum + breaks, 0)} breaks`);
}
