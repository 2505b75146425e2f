// The sandbox, parleyd on it, and who writes to whom.
import { Parleyd } from '../interop/lib/parleyd.mjs';
import { Sim } from '../interop/lib/sim.mjs';
import { pause, until } from '../interop/lib/wait.mjs';
import { keeps } from './cuts.mjs';
import { Door } from './door.mjs';
import { between } from './traffic.mjs';

const ACCOUNTS = 3;
const PHONES = 4;
const SLOW = 'commit_delay_ms=40';
const EXTRA = ['--first-prekeys', '100'];

/** Moments that chance would seldom find: around the commit of an outbox row, a ratchet, a message (storage/kinds.def). */
const PLACES = ['kill_after=70', 'kill_before=70', 'kill_after=32', 'kill_after=50', 'kill_before=50', 'kill_before=32'];
const PLACED_EVERY = 4;
const PLACED_MS = 6000;

/** Every so many rounds it ends as when a library finds itself inconsistent: libwebsockets and LMDB abort then. */
const ABORT_EVERY = 5;

/** The sandbox, the server on it, its accounts and the phones they talk with. */
export class World {
  accounts = [];
  phones = [];
  placed = 0; // kills that fell where they were placed
  aborted = 0;
  isSmall = false; // the log of this server keeps little
  mayCut = false; // it does, or the one before did

  /** `env` is the environment of the first parleyd, `faults` what every later one is told to do wrong. */
  constructor(dir, { env = {}, faults = '' } = {}) {
    Object.assign(this, { dir, env, faults });
  }

  async open() {
    this.sim = await new Sim({ dir: this.dir }).start();
    this.parleyd = await new Parleyd({ dir: this.dir, sim: this.sim, env: { PARLEY_FAULTS: '', ...this.env }, extra: EXTRA }).start();
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

  /** Every fourth round runs on a server that kills itself at a chosen commit. */
  async prepare(round) {
    if (round % PLACED_EVERY !== 2) return;
    this.check();
    await this.parleyd.kill();
    this.place = `${PLACES[Math.floor(round / PLACED_EVERY) % PLACES.length]} kill_wait=${between(0, 6)}`;
    this.parleyd.env = { PARLEY_FAULTS: `${this.faults} ${this.place}`.trim() };
    await this.parleyd.start().catch((error) => {
      if (!this.hasFallen) throw error; // it may come to that commit while it starts
    });
  }

  /** Half the rounds run with slow commits, so that a kill finds turns in flight, a third on a log that is cut. */
  async kill(round) {
    await this.#end(round % ABORT_EVERY === 1 ? 'SIGABRT' : 'SIGKILL');
    this.parleyd.env = { PARLEY_FAULTS: [this.faults, round % 2 ? SLOW : ''].join(' ').trim() };
    const wasSmall = this.isSmall;
    this.parleyd.extra = [...EXTRA, ...keeps(round)];
    this.isSmall = this.parleyd.extra.length > EXTRA.length;
    this.mayCut = wasSmall || this.isSmall;
    if (Math.random() < 0.25) await this.#killWhileStarting();
    await this.parleyd.start();
  }

  async #end(signal) {
    if (this.place) await until(PLACED_MS, 'the placed kill', () => this.hasEnded, 20).catch(() => {});
    if (this.hasFallen) this.placed++;
    else {
      this.check();
      await this.parleyd.kill(signal);
      this.aborted += this.parleyd.child.end.signal === 'SIGABRT';
    }
    this.place = '';
  }

  /** It killed itself where it was told to. */
  get hasFallen() {
    return Boolean(this.place) && this.parleyd.child.end?.signal === 'SIGKILL';
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
