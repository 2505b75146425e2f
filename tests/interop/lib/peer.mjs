// The drivers of the real peers as child processes, with the line protocol of README.md.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { Child } from './process.mjs';
import { interop, runtimes } from './paths.mjs';
import { Feed, within } from './wait.mjs';

const CONNECT_MS = 30_000;
const DELIVER_MS = 20_000;

/** A current web version; the sim may ask for one and none of them is fetched. */
const VERSION = [2, 3000, 1043857760];

const drivers = {
  baileys: { program: process.execPath, args: [join(interop, 'peers/baileys.mjs')] },
  rust: { program: process.execPath, args: [join(interop, 'peers/rust.mjs')] },
  whatsmeow: { program: join(runtimes, 'bin/peer-whatsmeow'), args: [] },
};

export const peerKinds = Object.keys(drivers);

export class Peer {
  constructor({ kind, name = kind, number, dir, sim, caFile }) {
    Object.assign(this, { kind, name, number, dir, sim, caFile });
    this.stateDir = join(dir, `${name}-state`);
  }

  /** Starts the driver and lets it connect; `events` begins anew, so a wait only sees this run. */
  start() {
    this.events = new Feed();
    const onLine = (line) => {
      let event;
      try {
        event = JSON.parse(line);
      } catch {
        return; // A package that writes past console; it is in the log of the driver's author, not ours.
      }
      this.events.push(event);
      appendFileSync(join(this.dir, `${this.name}.events`), `${new Date().toISOString()} ${line}\n`);
    };
    this.child = new Child({ ...drivers[this.kind], dir: this.dir, logName: this.name, onLine });
    this.child.ended.then(() => this.events.push({ event: 'ended' }));
    this.#command('start', {
      url: this.sim.url,
      root_key: this.sim.rootKey,
      ca_file: this.caFile,
      state_dir: this.stateDir,
      version: VERSION,
    });
    return this;
  }

  #command(cmd, members = {}) {
    this.child.check();
    this.child.writeLine(JSON.stringify({ cmd, ...members }));
  }

  /** The first event of that name (and with those members) from index `from` on; a final `closed` ends the wait. */
  async event(name, members = {}, { ms = DELIVER_MS, from = 0 } = {}) {
    const fits = (event) => event.event === name && Object.entries(members).every(([key, value]) => event[key] === value);
    const dead = (event) => event.event === 'ended' || (event.event === 'closed' && event.final);
    const what = `${this.name}: ${name} ${JSON.stringify(members)}`;
    const event = await this.events
      .first(ms, what, (event) => fits(event) || dead(event), from)
      .catch((error) => this.#explain(error));
    if (!fits(event)) this.#explain(new Error(`${what}, but it ${event.event}: ${event.reason ?? ''}`));
    return event;
  }

  #explain(error) {
    const recent = this.events.items.slice(-6).map((event) => JSON.stringify(event));
    error.message += `\n  events: ${recent.join('\n          ') || 'none'}\n  ${this.child.tail(8)}`;
    throw error;
  }

  /** Links the driver's client to its phone: shows a code, the phone scans it, the client restarts and is open. */
  async pair() {
    const { qr } = await this.event('qr', {}, { ms: CONNECT_MS });
    await this.sim.scan(this.number, qr);
    this.identity = await this.event('paired', {}, { ms: CONNECT_MS });
    await this.opened(this.events.items.indexOf(this.identity));
  }

  opened(from = 0) {
    return this.event('open', {}, { ms: CONNECT_MS, from });
  }

  /** Sends and answers the id once the server has acked it. */
  send(to, text, options) {
    return this.#send('send', to, text, options);
  }

  sendGroup(to, text) {
    return this.#send('send_group', to, text);
  }

  async #send(cmd, to, text, { ms } = {}) {
    const id = newId();
    this.#command(cmd, { to, text, id });
    const sent = await this.event('sent', { id }, { ms });
    if (sent.error) throw new Error(`${this.name}: send to ${to}: ${sent.error}`);
    return id;
  }

  /** Sends without waiting for anything; answers the id. */
  post(to, text) {
    const id = newId();
    this.#command('send', { to, text, id });
    return id;
  }

  received(text, options) {
    return this.event('message', { text, from_me: false }, options);
  }

  read(chat, ids, sender) {
    this.#command('read', { chat, ids, sender });
  }

  presence(state, to) {
    this.#command('presence', { state, to });
  }

  logout() {
    this.#command('logout');
  }

  /** Ends the driver the friendly way; its state stays. */
  async stop() {
    if (this.child.end) return;
    this.#command('stop');
    await within(8000, `${this.name} to stop`, this.child.ended);
  }

  async restart() {
    await this.stop();
    return this.start();
  }
}

/** A stanza id as the web client makes them. */
export function newId() {
  return `3EB0${crypto.randomUUID().replaceAll('-', '').slice(0, 18).toUpperCase()}`;
}
