// kill -9 of parleyd at random moments of real traffic: nothing lost, nothing doubled, nobody pairs again.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { check, same } from '../lib/context.mjs';
import { peerKinds } from '../lib/peer.mjs';
import { interop } from '../lib/paths.mjs';
import { EventsReader, LegacySseSubscriber, RestSubscriber, StreamableSubscriber } from '../lib/subscribers.mjs';
import { accountStatus, codeIn, messageOf, pairAccount, wholeChat, wholeLog } from '../lib/tools.mjs';
import { pause, until } from '../lib/wait.mjs';
import { open } from './main.mjs';

const ACCOUNT = '15550003000';
const ROUNDS = Number(process.env.KILL9_ROUNDS ?? 20);
const SIM_RESTARTS = 5;
const STOPS = 6;
const PAIRING_KILLS = 12;
const SLOW_MS = 50;
const EVERYTHING = ['*'];
const ANSWER_EVERY = 5;

const random = (from, to) => from + Math.floor(Math.random() * (to - from));

/** Builds the shim that makes flushes slow; answers the environment that loads it. */
function slowFlushes(dir) {
  const library = join(dir, 'slow_sync.so');
  execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, join(interop, 'shims/slow_sync.c'), '-ldl']);
  // A sanitizer wants to be loaded first, unless it is told that this is fine.
  return { LD_PRELOAD: library, SLOW_SYNC_MS: String(SLOW_MS), ASAN_OPTIONS: 'verify_asan_link_order=0' };
}

/** A legacy client: when its stream breaks it opens a new session and reads what it missed from the log. */
class Returning {
  seqs = new Set();
  sessions = 0;

  constructor(t, door) {
    Object.assign(this, { t, door });
  }

  async run() {
    while (!this.stopped) {
      try {
        await this.#session();
      } catch (error) {
        this.lastError = error;
      }
      await this.client?.close().catch(() => {});
      await pause(150);
    }
  }

  async #session() {
    this.client = await open(this.t, LegacySseSubscriber, this.door, `sse-${++this.sessions}`);
    await this.client.call('subscribe_events', { events: EVERYTHING }, 5000);
    // Subscribed first, then caught up: what lies between comes twice and counts once.
    const last = Math.max(0, ...this.seqs);
    for (const event of await wholeLog(this.client, last)) this.seqs.add(event.seq);
    let next = 0;
    while (!this.stopped && this.client.errors.length === 0) {
      for (; next < this.client.events.items.length; next++) this.seqs.add(this.client.events.items[next].seq);
      await pause(50);
    }
  }
}

/** A peer that writes until told to stop; `acked` holds what the server took. */
class Writer {
  acked = [];

  /** With `bears` a send may end without an ack: nobody knows then whether it arrives. */
  constructor(peer, { bears = false } = {}) {
    Object.assign(this, { peer, bears });
  }

  async run() {
    for (let n = 1; !this.stopped; n++) {
      const text = `${this.peer.kind} ${n}`;
      try {
        await this.peer.send(ACCOUNT, text, { ms: this.bears ? 4000 : undefined });
        this.acked.push(text);
      } catch (error) {
        if (!this.bears) throw error;
      }
      await pause(random(20, 150));
    }
  }
}

/** An agent that answers every so many messages, repeating a call under its key until it is answered. */
class Answerer {
  sent = [];
  #jobs = [];

  constructor(agent) {
    this.agent = agent;
  }

  async run() {
    let next = 0;
    while (!this.stopped || next < this.agent.events.items.length) {
      if (next >= this.agent.events.items.length) {
        await pause(20);
        continue;
      }
      const event = this.agent.events.items[next++];
      if (event.event === 'message.received' && next % ANSWER_EVERY === 0) this.#jobs.push(this.#answer(messageOf(event)));
    }
    await Promise.all(this.#jobs);
  }

  async #answer(message) {
    const text = `answer to ${message.text}`;
    await until(60_000, `"${text}" to be taken`, () =>
      this.agent.call('send_message', { chat_id: message.chat_id, text, idempotency_key: text }, 8000), 200);
    this.sent.push(text);
  }
}

/** The sum of one metric; undefined while the server does not answer. */
async function metric(parleyd, name) {
  const text = await fetch(`${parleyd.url}/metrics`).then((answer) => answer.text(), () => undefined);
  if (text === undefined) return undefined;
  const lines = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  check(lines.length > 0, `the metrics hold no ${name}`);
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

/** The mean time of a commit in this process, in milliseconds; 0 before the first. */
async function commitMs(parleyd) {
  const [us, commits] = [await metric(parleyd, 'parley_commit_microseconds_total'), await metric(parleyd, 'parley_commits_total')];
  return commits ? us / commits / 1000 : 0;
}

async function killRounds(parleyd, slow) {
  let slowed = 0;
  for (let round = 0; round < ROUNDS; round++) {
    // Half the processes run with slow commits; the first one has been running since the start without them.
    await pause(random(200, 2500));
    // The rule "nothing leaves before its commit", as the monitor counts what breaks it.
    same((await metric(parleyd, 'parley_release_before_commit_total')) ?? 0, 0, 'sends that left before their commit');
    if (parleyd.env === slow && (await commitMs(parleyd)) >= SLOW_MS) slowed++;
    parleyd.child.check(); // the monitor ends the process that it catches
    await parleyd.kill();
    parleyd.env = round % 2 === 0 ? slow : {};
    await parleyd.start();
  }
  check(slowed >= ROUNDS / 4, `only ${slowed} of ${ROUNDS / 2} processes were seen to be slow`);
}

/** SIGTERM in the middle of it: what is under way is finished or begun again, and the process says that all went well. */
async function stopRounds(parleyd) {
  for (let round = 0; round < STOPS; round++) {
    await pause(random(200, 1500));
    const { code, signal } = await parleyd.stop();
    same([code, signal], [0, null], `the end of stop ${round}`);
    await parleyd.start();
  }
}

function countOf(texts) {
  const count = new Map();
  for (const text of texts) count.set(text, (count.get(text) ?? 0) + 1);
  return count;
}

function exactlyOnce(wanted, have, what) {
  check(wanted.length > 0, `${what}: there was no traffic`);
  const count = countOf(have.filter(Boolean)); // what waits for a retry has no text yet
  same(wanted.filter((text) => !count.has(text)), [], `${what}: lost`);
  same([...count].filter(([, times]) => times > 1), [], `${what}: doubled`);
}

/** The MCP clients of the case: an agent that answers, and one that comes back with new sessions. */
async function mcpClients(t, door) {
  const agent = await open(t, StreamableSubscriber, door, 'agent');
  await agent.call('subscribe_events', { events: EVERYTHING });
  const returning = new Returning(t, door);
  returning.running = returning.run();
  return { agent, returning, session: agent.sessionId };
}

async function kill9(t, clientsOf, ends = killRounds) {
  const slow = slowFlushes(t.dir);
  const sim = await t.sim();
  sim.recordTrace();
  const parleyd = await t.parleyd({ sim });
  const door = { url: parleyd.url, key: parleyd.testKey };
  const { agent, returning, session } = await clientsOf(t, door);
  const script = await open(t, EventsReader, door, 'script');
  await sim.addPhone(ACCOUNT, 'Parley');
  const account = await pairAccount(agent, sim, ACCOUNT);

  const peers = [];
  for (const [n, kind] of peerKinds.entries()) peers.push(await t.pairedPeer(sim, kind, `1555000300${n + 1}`));
  const answerer = new Answerer(agent);
  const writers = peers.map((peer) => new Writer(peer));
  const answering = answerer.run();
  const writing = writers.map((writer) => writer.run());

  await ends(parleyd, slow);
  for (const writer of writers) writer.stopped = true;
  await Promise.all(writing);
  await accountStatus(agent, account, 'connected', 60_000);

  const acked = writers.flatMap((writer) => writer.acked);
  const received = () => agent.events.items.filter(({ event }) => event === 'message.received').map((event) => messageOf(event).text);
  await until(60_000, 'every message to be heard', () => acked.every((text) => received().includes(text)), 500);
  answerer.stopped = true;
  await answering;
  const texts = () => peers.flatMap(textsOnce);
  await until(60_000, 'every answer to arrive', () => answerer.sent.every((text) => texts().includes(text)), 500);

  const log = await settledLog(agent);
  const seqs = log.map(({ seq }) => seq);
  if (returning) await sawAll(returning, seqs);
  exactlyOnce(acked, received(), 'messages heard');
  exactlyOnce(answerer.sent, texts(), 'answers that arrived');
  exactlyOnce([...acked, ...answerer.sent], await storedTexts(agent, log), 'messages stored');
  same(agent.seqs, seqs, `what ${agent.name} saw`);
  same(script.seqs, seqs, 'what the /v1/events reader saw');
  same(agent.sessionId, session, 'the session of the agent');
  same(log.filter(({ event }) => event === 'account.unpaired'), [], 'accounts that were lost');
  same(await metric(parleyd, 'parley_release_before_commit_total'), 0, 'sends that left before their commit');
  console.log(`  ${ends === killRounds ? `${ROUNDS} kills` : `${STOPS} stops`}, ${acked.length} messages, ${answerer.sent.length} answers, ${log.length} events`);
}

/**
 * The texts that a peer read, each id once: what was cut off before its ack goes again under its id, and Baileys hands
 * both to its application.
 */
function textsOnce(peer) {
  const messages = peer.events.items.filter(({ event }) => event === 'message');
  return [...new Map(messages.map(({ id, text }) => [id, text])).values()];
}

/** The service goes away and comes back with its state, again and again; parleyd and the clients live through it. */
async function simRestarts(t) {
  const sim = await t.sim({ state: join(t.dir, 'sim-state') });
  const parleyd = await t.parleyd({ sim });
  const agent = await open(t, RestSubscriber, { url: parleyd.url, key: parleyd.testKey }, 'agent');
  await sim.addPhone(ACCOUNT, 'Parley');
  const account = await pairAccount(agent, sim, ACCOUNT);
  const peers = [];
  for (const [n, kind] of peerKinds.entries()) peers.push(await t.pairedPeer(sim, kind, `1555000300${n + 1}`));
  const answerer = new Answerer(agent);
  const writers = peers.map((peer) => new Writer(peer, { bears: true }));
  const answering = answerer.run();
  const writing = writers.map((writer) => writer.run());
  for (let round = 0; round < SIM_RESTARTS; round++) {
    await pause(random(1000, 3000));
    await sim.stop();
    await sim.start();
    await accountStatus(agent, account, 'connected', 60_000);
  }
  await pause(2000);
  for (const writer of writers) writer.stopped = true;
  await Promise.all(writing);

  const acked = writers.flatMap((writer) => writer.acked);
  const heard = () => agent.events.items.filter(({ event }) => event === 'message.received').map((event) => messageOf(event).text);
  await until(60_000, 'every message to be heard', () => acked.every((text) => heard().includes(text)), 500);
  answerer.stopped = true;
  await answering;
  const texts = () => peers.flatMap(textsOnce);
  await until(60_000, 'every answer to arrive', () => answerer.sent.every((text) => texts().includes(text)), 500);
  exactlyOnce(acked, heard(), 'messages heard');
  exactlyOnce(answerer.sent, texts(), 'answers that arrived');
  console.log(`  ${SIM_RESTARTS} restarts, ${acked.length} messages, ${answerer.sent.length} answers`);
}

/** Killed at any moment of a pairing, an account is either paired or can be paired again. */
async function whilePairing(t) {
  const sim = await t.sim();
  const parleyd = await t.parleyd({ sim });
  const agent = await open(t, RestSubscriber, { url: parleyd.url, key: parleyd.testKey }, 'agent');
  const ends = { survived: 0, again: 0 };
  for (let round = 0; round < PAIRING_KILLS; round++) {
    const number = `155500031${String(round).padStart(2, '0')}`;
    await sim.addPhone(number, `Phone ${round}`);
    const answer = await agent.call('pair_account', {});
    sim.scan(number, codeIn(answer)).catch(() => {});
    await pause(random(0, 40));
    await parleyd.kill();
    await parleyd.start();
    const status = () => agent.call('get_account_status', { account_id: answer.account_id }).then((account) => account.status);
    await until(30_000, `${answer.account_id} to settle`, async () => ['connected', 'expired', 'logged_out'].includes(await status()), 200)
      .catch(async (error) => check(await status() === 'pairing', `${error.message}: it is ${await status()}`));
    if ((await status()) === 'connected') {
      ends.survived++;
      continue;
    }
    const again = await agent.call('pair_account', { account_id: answer.account_id });
    await sim.scan(number, codeIn(again));
    await accountStatus(agent, answer.account_id, 'connected');
    ends.again++;
  }
  console.log(`  ${PAIRING_KILLS} kills: ${ends.survived} were paired, ${ends.again} paired again`);
}

async function sawAll(returning, seqs) {
  await until(20_000, 'the legacy client to catch up', () => seqs.every((seq) => returning.seqs.has(seq)), 200);
  returning.stopped = true;
  await returning.running;
  same([...returning.seqs].sort((a, b) => a - b), seqs, 'what the legacy client saw');
}

/** The texts of every chat that the log names. */
async function storedTexts(agent, log) {
  const chats = new Set(log.filter(({ event }) => event === 'message.received').map((event) => messageOf(event).chat_id));
  const texts = [];
  for (const chat of chats) texts.push(...(await wholeChat(agent, chat)).map(({ text }) => text));
  return texts;
}

/** The log once nothing is added to it any more. */
async function settledLog(agent) {
  let before = -1;
  return until(30_000, 'the log to settle', async () => {
    const log = await wholeLog(agent);
    if (log.length === before && agent.seqs.at(-1) === log.at(-1)?.seq) return log;
    before = log.length;
    return undefined;
  }, 1500);
}

const needs = ['sim', 'parleyd', 'whatsmeow'];
const ms = 120_000 + ROUNDS * 15_000;

export const killCases = [
  {
    name: 'sim-goes-away',
    about: `the service restarts ${SIM_RESTARTS} times in traffic of three clients; nothing that was acked is lost or doubled`,
    needs,
    ms: 400_000,
    run: simRestarts,
  },
  {
    name: 'kill9-pairing',
    about: `kill -9 at ${PAIRING_KILLS} moments of a pairing: paired, or paired again`,
    needs: ['sim', 'parleyd'],
    ms: 400_000,
    run: whilePairing,
  },
  {
    name: 'stop-in-traffic',
    about: `SIGTERM to parleyd ${STOPS} times in traffic of three clients: it ends with 0, nothing is lost or doubled`,
    needs,
    ms,
    run: (t) => kill9(t, async (_, door) => ({ agent: await open(t, RestSubscriber, door, 'agent') }), stopRounds),
  },
  {
    name: 'kill9-rest',
    about: `kill -9 of parleyd ${ROUNDS} times in traffic of three clients, seen over REST and /v1/events`,
    needs,
    ms,
    run: (t) => kill9(t, async (_, door) => ({ agent: await open(t, RestSubscriber, door, 'agent') })),
  },
  {
    name: 'kill9',
    about: `kill -9 of parleyd ${ROUNDS} times in traffic of three clients, seen by MCP clients that go on`,
    needs,
    ms,
    run: (t) => kill9(t, mcpClients),
  },
];
