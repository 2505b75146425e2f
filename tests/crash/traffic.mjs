// Who writes while parleyd is killed: the phones of the sandbox to its accounts, its accounts to the phones.
import { pause } from '../interop/lib/wait.mjs';

export const between = (from, to) => from + Math.floor(Math.random() * (to - from));
const oneOf = (list) => list[between(0, list.length)];

/** Every text is unique, so that a text is a message. */
export class Traffic {
  inbound = new Map(); // text -> {account, phone}
  outbound = new Map(); // text -> {account, phone, key, answer}
  readings = new Set(); // texts of ours that a phone has read
  #open;
  #gate = Promise.resolve();
  #parked = new Set();
  #writers = [];
  #numbers = new Map();

  constructor(world) {
    this.world = world;
  }

  begin() {
    this.pause();
    for (const phone of this.world.phones) this.#start(phone, () => this.#phoneWrites(phone), 20, 120);
    for (const phone of this.world.phones) this.#start(`${phone} reads`, () => this.#phoneReads(phone), 100, 400);
    for (const account of this.world.accounts) this.#start(account, () => this.#accountWrites(account), 20, 150);
  }

  #start(who, write, from, to) {
    this.#writers.push(who);
    (async () => {
      for (;;) {
        this.#parked.add(who);
        await this.#gate;
        this.#parked.delete(who);
        await write();
        await pause(between(from, to));
      }
    })().catch((error) => {
      this.failed = error;
      this.#parked.add(who);
    });
  }

  #next(who) {
    const number = (this.#numbers.get(who) ?? 0) + 1;
    this.#numbers.set(who, number);
    return number;
  }

  async #phoneWrites(phone) {
    const { sim, accounts, group } = this.world;
    const text = `in ${phone} ${this.#next(phone)}`;
    if (Math.random() < 0.2) {
      this.inbound.set(text, { account: accounts[0], phone });
      await sim.phoneSendsGroup(phone, group, text);
    } else {
      const account = oneOf(accounts);
      this.inbound.set(text, { account, phone });
      await sim.phoneSends(phone, account.number, text);
    }
  }

  /** The newest that came to it. */
  async #phoneReads(phone) {
    const { sim } = this.world;
    const unread = (await sim.inbox(phone)).filter(({ from_me, text }) => !from_me && text.startsWith('out ') && !this.readings.has(text));
    if (unread.length === 0) return;
    const { id, text } = unread.at(-1);
    await sim.phoneReads(phone, id);
    this.readings.add(text);
  }

  async #accountWrites(account) {
    const phone = oneOf(this.world.phones);
    const text = `out ${account.number} ${this.#next(account)}`;
    const body = { account_id: account.id, to: `+${phone}`, text, idempotency_key: `key of ${text}` };
    const sent = { account, phone, body };
    this.outbound.set(text, sent);
    sent.answer = await this.world.door.insist('/v1/messages', body);
  }

  resume() {
    this.#open?.();
  }

  pause() {
    this.#gate = new Promise((resolve) => (this.#open = resolve));
  }

  /** True once nobody has anything under way. */
  get isStill() {
    if (this.failed) throw this.failed;
    return this.#writers.every((who) => this.#parked.has(who));
  }
}
