// kill -9 of parleyd, round after round: see `run`.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Parleyd } from '../interop/lib/parleyd.mjs';
import { program } from '../interop/lib/process.mjs';
import { Sim } from '../interop/lib/sim.mjs';
import { pause, until } from '../interop/lib/wait.mjs';
import { Door, Stream } from './door.mjs';
import { Judge } from './judge.mjs';
import { Traffic, between } from './traffic.mjs';

const ACCOUNTS = 3;
const PHONES = 4;
const SUBSCRIBERS = 2;
const PLANTED = process.env.PARLEY_FAULTS ?? '';
const SLOW = 'commit_delay_ms=40';

/** The sandbox, the server on it, its accounts and the phones they talk with. */
class World {
  accounts = [];
  phones = [];

  constructor(dir) {
    this.dir = dir;
  }

  async open() {
    this.sim = await new Sim({ dir: this.dir }).start();
    this.parleyd = await new Parleyd({ dir: this.dir, sim: this.sim, env: { PARLEY_FAULTS: '' }, extra: ['--first-prekeys', '100'] }).start();
    this.door = new Door(this.parleyd.url, this.parleyd.testKey);
    for (let n = 1; n <= PHONES; n++) {
      this.phones.push(`1555200000${n}`);
      await this.sim.addPhone(this.phones.at(-1), `Phone ${n}`);
    }
    for (let n = 1; n <= ACCOUNTS; n++) this.accounts.push(await this.#pair(`1555100000${n}`));
    this.group = (await this.sim.addGroup({ subject: 'Crash', members: [...this.phones, this.accounts[0].number] })).id;
  }

  async #pair(number) {
    await this.sim.addPhone(number, `Account ${number}`);
    const { account_id: id, code } = await this.door.ask('POST', '/v1/accounts', {});
    await this.sim.scan(number, code);
    const account = { id, number };
    await until(30_000, `${number} to be connected`, () => this.isConnected(account), 100);
    return account;
  }

  async isConnected({ id }) {
    return (await this.door.ask('GET', `/v1/accounts/${id}/status`)).status === 'connected';
  }

  /** Connected, and nothing in the sandbox waits for it. */
  async isQuiet(account) {
    const companions = (await this.sim.devices(account.number)).filter(({ device }) => device !== 0);
    return companions.every(({ connected, queue }) => connected && queue === 0) && this.isConnected(account);
  }

  inboxes() {
    return Promise.all(this.phones.map((phone) => this.sim.inbox(phone)));
  }

  async trace(since) {
    return (await fetch(`${this.sim.control}/trace?since=${since}`)).json();
  }

  /** Half the rounds run with slow commits, so that a kill finds turns in flight. */
  async kill(round) {
    this.check();
    await this.parleyd.kill();
    this.parleyd.env = { PARLEY_FAULTS: [PLANTED, round % 2 ? SLOW : ''].join(' ').trim() };
    if (Math.random() < 0.25) await this.#killWhileStarting();
    await this.parleyd.start();
  }

  async #killWhileStarting() {
    const starting = this.parleyd.start().catch(() => {});
    await pause(between(0, 400));
    await this.parleyd.kill();
    await starting;
  }

  get hasEnded() {
    return Boolean(this.parleyd.child.end);
  }

  /** An end of the server that is not ours is a broken promise. */
  check() {
    this.parleyd.child.check();
  }

  async close() {
    await this.parleyd.stop();
    await this.sim.stop();
  }
}

function options() {
  const { values } = parseArgs({ options: { rounds: { type: 'string', default: '200' }, build: { type: 'string' }, keep: { type: 'boolean' } } });
  if (values.build) process.env.PARLEY_BUILD = resolve(values.build);
  return { rounds: Number(values.rounds), keep: values.keep };
}

/** Rounds until the last one or the first broken promise. */
async function rounds(world, traffic, judge, count) {
  for (let round = 1; round <= count; round++) {
    traffic.resume();
    await pause(between(50, 1200));
    await world.kill(round);
    traffic.pause();
    if (!(await judge.round())) return round;
    if (round % 10 === 0) console.log(`round ${round}: ${judge.log.length} events, no promise broken`);
  }
  await judge.end();
  return count;
}

async function run(dir, count) {
  const world = new World(dir);
  await world.open();
  const streams = Array.from({ length: SUBSCRIBERS }, () => new Stream(world.door));
  const traffic = new Traffic(world);
  const judge = new Judge(world, traffic, streams);
  traffic.begin();
  const done = await rounds(world, traffic, judge, count);
  streams.forEach((stream) => stream.close());
  await world.close();
  execFileSync(program('parleyctl'), ['check', world.parleyd.data], { stdio: ['ignore', 'ignore', 'inherit'] });
  console.log(`rounds ${done}, messages ${traffic.inbound.size} in and ${traffic.outbound.size} out, events ${judge.log.length}, `
    + `resumptions ${streams.reduce((sum, { resumed }) => sum + resumed, 0)}, losses ${judge.losses}, doubles ${judge.doubles}`);
  return judge.broken.length === 0;
}

const { rounds: count, keep } = options();
for (const name of ['parleyd', 'parley-sim', 'parleyctl'])
  if (!program(name)) {
    console.log(`${name} is not built`);
    process.exit(77);
  }
const dir = mkdtempSync(join(tmpdir(), 'parley-crash-'));
let good = false;
try {
  good = await run(dir, count);
} catch (error) {
  console.log(`BROKEN: ${error.stack}`);
}
if (good && !keep) rmSync(dir, { recursive: true, force: true });
else console.log(`files: ${dir}`);
process.exit(good ? 0 : 1);
