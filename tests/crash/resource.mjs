// A resource that fails under a running parleyd: see `run --resource`.
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { pause, until } from '../interop/lib/wait.mjs';
import { Desk } from './desk.mjs';
import { Refused, Stream } from './door.mjs';
import { Judge } from './judge.mjs';
import { Traffic } from './traffic.mjs';
import { World } from './world.mjs';

const SETTLED = 'what came while the resource failed is there';

/** The word of disk.c's `struct control` at this place. */
const FULL = 0;
const SLOW_MS = 4;
const FAIL_FLUSH = 8;
const REFUSED = 12;
const FLUSHES = 16;

class Disk {
  constructor(dir) {
    this.path = join(dir, 'disk');
    this.file = openSync(this.path, 'w+');
    writeSync(this.file, Buffer.alloc(64), 0, 64, 0);
  }

  get(at) {
    const word = Buffer.alloc(4);
    readSync(this.file, word, 0, 4, at);
    return word.readUInt32LE();
  }

  set(at, value) {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(value);
    writeSync(this.file, word, 0, 4, at);
  }

  close() {
    closeSync(this.file);
  }
}

/** How long it took, or the error. */
async function timed(act) {
  const began = performance.now();
  await act();
  return performance.now() - began;
}

const percentile = (list, share) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * share))];

/** Everything around one failing resource: the world, its traffic, and what must not break. */
class Trial {
  constructor(dir, patience, env, limit) {
    Object.assign(this, { dir, patience, limit });
    this.disk = new Disk(dir);
    this.world = new World(dir, { env: { ...env, PARLEY_DISK: this.disk.path, PARLEY_FAULTS: process.env.PARLEY_FAULTS ?? '' } });
  }

  async open() {
    await this.world.open();
    this.door = this.world.door;
    this.streams = [new Stream(this.door), new Stream(this.door)];
    this.traffic = new Traffic(this.world);
    this.desk = new Desk(this.world);
    this.judge = new Judge(this.world, this.traffic, this.desk, this.streams, this.patience);
    this.traffic.begin();
    await this.#live(1000);
    await this.expectSound('before anything failed');
  }

  async #live(ms) {
    this.traffic.resume();
    await pause(ms);
    this.traffic.pause();
  }

  expect(good, what) {
    if (good) return;
    this.judge.broken.push(what);
    console.log(`BROKEN: ${what}`);
  }

  async expectSound(what) {
    if (!(await this.judge.round())) console.log(`BROKEN: ${what}`);
  }

  get pid() {
    return this.world.parleyd.child.pid;
  }

  ready() {
    return fetch(`${this.world.parleyd.url}/readyz`).then(async (response) => ({ ok: response.ok, text: await response.text() }));
  }

  alive() {
    return fetch(`${this.world.parleyd.url}/livez`, { signal: AbortSignal.timeout(5000) }).then((response) => response.ok, () => false);
  }

  async close() {
    for (const stream of this.streams ?? []) stream.close();
    await this.judge.end();
    await this.world.close();
    this.disk.close();
  }
}

/** No space: reads go on, writes are refused in words, and the service comes back by itself. */
async function fill(trial, kind, says) {
  const { traffic, world, disk } = trial;
  const pid = trial.pid;
  const refused = disk.get(REFUSED);
  traffic.resume();
  await pause(300);
  disk.set(FULL, kind);
  if (says) await until(10_000, 'a server that says it is full', async () => !(await trial.ready()).ok);
  const body = { account_id: world.accounts[0].id, to: `+${world.phones[0]}`, text: `full ${kind}`, idempotency_key: `full ${kind}` };
  if (says) {
    const answer = await trial.door.ask('POST', '/v1/messages', body).then(() => undefined, (error) => error);
    trial.expect(answer instanceof Refused && /full|not connected/.test(answer.message), `a write on a full disk is answered: ${answer?.message}`);
    console.log(`a write on a full disk: ${answer?.message}`);
    for (let n = 0; n < 20; n++) await trial.door.ask('GET', `/v1/chats?account_id=${world.accounts[0].id}`);
    trial.expect(/space/.test((await trial.ready()).text), '/readyz does not name the space');
  }
  await pause(2500);
  trial.expect(await trial.alive(), '/livez does not answer while the disk is full');
  // A disk that says it is full is believed before a write fails.
  trial.expect(says || disk.get(REFUSED) > refused, 'no write found the disk full');
  disk.set(FULL, 0);
  traffic.pause();
  await until(20_000, 'a server that is ready again', async () => (await trial.ready()).ok);
  await trial.expectSound(SETTLED);
  trial.expect(trial.pid === pid, 'the server was started again');
}

async function enospc(trial) {
  await fill(trial, 1, true);
  await fill(trial, 2, false);
  console.log(`writes that found no space: ${trial.disk.get(REFUSED)}`);
}

/** Slow flushes: what waits for n of them takes about n times as long, and nothing is early or lost. */
async function slow(trial, ms) {
  const { disk, world, traffic } = trial;
  const [account] = world.accounts;
  const send = (text) => trial.door.ask('POST', '/v1/messages', { account_id: account.id, to: `+${world.phones[0]}`, text, idempotency_key: text });
  disk.set(SLOW_MS, ms);
  const flushes = disk.get(FLUSHES);
  const calls = [];
  for (let n = 0; n < 25; n++) calls.push(await timed(() => send(`slow ${n}`)));
  const alone = disk.get(FLUSHES) - flushes;
  const arrivals = [];
  for (let n = 0; n < 25; n++) arrivals.push(await timed(async () => {
    await world.sim.phoneSends(world.phones[1], account.number, `slowly in ${n}`);
    await until(30_000, 'the message on the stream', () => trial.streams[0].events.some(({ data }) => data?.text === `slowly in ${n}`), 1);
  }));
  traffic.resume();
  await pause(2500);
  traffic.pause();
  console.log(`fsync ${ms} ms: send_message p50 ${percentile(calls, 0.5).toFixed(1)} p99 ${percentile(calls, 0.99).toFixed(1)} ms, `
    + `inbound to subscriber p50 ${percentile(arrivals, 0.5).toFixed(1)} p99 ${percentile(arrivals, 0.99).toFixed(1)} ms, ${(alone / 25).toFixed(1)} flushes a call`);
  // A send waits for two commits of two flushes each, and for those of others under way: anything far above it queues.
  trial.expect(percentile(calls, 0.5) >= 2 * ms, 'a send is answered before its flushes can have ended');
  trial.expect(percentile(calls, 0.5) < 30 * ms + 1500, 'sends queue behind slow flushes');
  trial.expect(percentile(arrivals, 0.5) >= 2 * ms, 'an event is shown before its flushes can have ended');
  trial.expect(percentile(arrivals, 0.5) < 30 * ms + 1500, 'messages queue behind slow flushes');
  await trial.expectSound(SETTLED);
  traffic.resume();
  await pause(300);
  await world.kill(0); // with slow flushes under way
  traffic.pause();
  await trial.expectSound('a kill between slow flushes');
}

/** A flush that fails once: the process ends, and what it had not promised comes again. */
async function failOnce(trial) {
  const { disk, world, traffic } = trial;
  traffic.resume();
  await pause(400);
  disk.set(FAIL_FLUSH, 1);
  await until(10_000, 'a flush that fails', () => disk.get(FAIL_FLUSH) === 2, 5);
  await until(10_000, 'the end of the server', () => world.hasEnded, 5).catch(() => {});
  trial.expect(world.hasEnded, 'a failed flush does not end the server');
  if (world.hasEnded) {
    const { code, signal } = world.parleyd.child.end;
    const words = world.parleyd.child.tail(40);
    console.log(`a failed flush ended the server: ${signal ?? code}, ${words.split('\n').at(-1)}`);
    trial.expect(code !== 0, 'it calls the end a success');
    trial.expect(/cannot be written/.test(words), 'it does not say why it ended');
    await pause(1000); // the phones write on
    traffic.pause();
    await world.parleyd.start();
  }
  traffic.pause();
  await trial.expectSound(SETTLED);
}

function cpuMs(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

const DESCRIPTORS = 160;

/** No descriptors: accepting rests and comes back, links reconnect, and nobody spins. */
async function emfile(trial) {
  const { world, traffic } = trial;
  const port = new URL(world.parleyd.url).port;
  const pid = trial.pid;
  const idle = [];
  traffic.resume();
  for (let n = 0; n < DESCRIPTORS * 2; n++) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    idle.push(socket);
  }
  await until(10_000, 'a table that is full', () => /out of file descriptors/.test(world.parleyd.child.tail(400)));
  for (const { number } of world.accounts) await world.sim.faults({ fault: 'close', device: `${number}:1` });
  const began = cpuMs(pid);
  await pause(3000);
  const share = (cpuMs(pid) - began) / 3000;
  const devices = await Promise.all(world.accounts.map(({ number }) => world.sim.devices(number)));
  const away = devices.flat().filter(({ device, connected }) => device !== 0 && !connected).length;
  console.log(`full table: ${(share * 100).toFixed(1)} % of a CPU, ${away} of ${world.accounts.length} links away`);
  trial.expect(share < 0.5, `the server spins: ${(share * 100).toFixed(0)} % of a CPU`);
  trial.expect(away > 0, 'no link was away: none wanted a descriptor');
  world.check();
  traffic.pause();
  for (const socket of idle) socket.destroy();
  const back = await timed(() => until(20_000, '/livez to answer again', () => trial.alive()));
  console.log(`answers ${back.toFixed(0)} ms after there was room`);
  await trial.expectSound(SETTLED);
  trial.expect(trial.pid === pid, 'the server was started again');
}

const trials = {
  enospc: { run: enospc },
  slow5: { run: (trial) => slow(trial, 5) },
  slow50: { run: (trial) => slow(trial, 50) },
  failonce: { run: failOnce },
  emfile: { run: emfile, descriptors: DESCRIPTORS },
};

export const RESOURCES = Object.keys(trials);

/** True when nothing broke. */
export async function tryResource(name, dir, patience, preload) {
  const { run, descriptors } = trials[name];
  const trial = new Trial(dir, patience, { LD_PRELOAD: preload, ...(descriptors ? { PARLEY_DESCRIPTORS: String(descriptors) } : {}) });
  await trial.open();
  await run(trial);
  await trial.close();
  const { judge, traffic } = trial;
  console.log(`${name}: messages ${traffic.inbound.size} in and ${traffic.outbound.size} out, events ${judge.log.length}, losses ${judge.losses}, doubles ${judge.doubles}`);
  return judge.broken.length === 0;
}
