// What must hold after every round. Each promise that does not is a line in `broken`; losses and doubles are counted.
import { pause, until } from '../interop/lib/wait.mjs';

const REPEATED = 5; // older calls that are repeated each round

const messages = (events, name) => events.filter(({ event }) => event === name).map(({ data }) => data.message ?? data);
const texts = (events, name) => messages(events, name).map(({ text }) => text);

const nameOf = (event) => (event ? `${event.seq} (${event.event_id})` : 'nothing');

function countsOf(list) {
  const counts = new Map();
  for (const item of list) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

export class Judge {
  broken = [];
  losses = 0;
  doubles = 0;
  log = [];
  #chats = new Map(); // chat id -> account
  #seenIn = 0;
  #seenOut = 0;
  #traced = 0;

  /** `patience`: the seconds after which what has not arrived is lost; `cuts` where the log is cut. */
  constructor(world, traffic, desk, streams, patience, cuts) {
    Object.assign(this, { world, traffic, desk, streams, patience, cuts });
  }

  /** Reads the log while it is written, so that nothing is cut that nobody has read. */
  async follow(over) {
    while (!over()) {
      await this.#read().catch(() => {}); // the server may be gone
      await pause(100);
    }
  }

  #says(what) {
    this.broken.push(what);
    console.log(`BROKEN: ${what}`);
  }

  #lost(what, list) {
    if (list.length === 0) return;
    this.losses += list.length;
    this.#says(`${what}: lost ${JSON.stringify(list.slice(0, 5))}${list.length > 5 ? ` and ${list.length - 5} more` : ''}`);
  }

  #once(what, wanted, have) {
    const counts = countsOf(have);
    this.#lost(what, wanted.filter((text) => !counts.has(text)));
    const twice = [...counts].filter(([text, times]) => times > 1 && text);
    this.doubles += twice.length;
    if (twice.length) this.#says(`${what}: doubled ${JSON.stringify(twice.slice(0, 5))}`);
  }

  /** Waits until everything under way has arrived; what has not by then is judged as lost. */
  async settle() {
    const still = until(this.patience * 1000, 'the world to be still', async () => {
      if (this.world.hasEnded) return true;
      if (!this.traffic.isStill) return false;
      for (const account of this.world.accounts) if (!(await this.world.isQuiet(account))) return false;
      await this.#read();
      const received = new Set(texts(this.log, 'message.received'));
      for (const text of this.traffic.inbound.keys()) if (!received.has(text)) return false;
      const sent = new Set(texts(this.log, 'message.sent'));
      for (const text of this.traffic.outbound.keys()) if (!sent.has(text)) return false;
      const arrived = new Set(this.#arrived(await this.world.inboxes()));
      for (const text of this.traffic.outbound.keys()) if (!arrived.has(text)) return false;
      if (this.cuts && !this.cuts.isWithout(this.log)) return false;
      return this.streams.every(({ events, begin }) => (events.at(-1)?.seq ?? begin) === this.log.at(-1)?.seq);
    }, 150);
    await still.catch((error) => this.#says(error.message));
  }

  async #read() {
    this.log.push(...(await this.world.door.log(this.log.at(-1)?.seq ?? 0)));
  }

  #arrived(inboxes) {
    return inboxes.flat().filter(({ from_me, text }) => !from_me && text.startsWith('out ')).map(({ text }) => text);
  }

  #numbers() {
    const holes = this.log.filter(({ seq }, n) => seq !== n + 1);
    if (holes.length) this.#says(`the log has ${JSON.stringify(holes[0].seq)} where the number ${this.log.indexOf(holes[0]) + 1} stands`);
    if (new Set(this.log.map(({ event_id }) => event_id)).size !== this.log.length) this.#says('two events have one id');
  }

  /** Every subscriber saw the log: each event once, in order, under its number. */
  #followed() {
    this.streams.forEach(({ events, gaps, begin }, who) => {
      const log = this.log.slice(begin);
      if (gaps.length) this.#says(`subscriber ${who} was told that it missed ${gaps[0].first} to ${gaps[0].last}`);
      const wrong = log.findIndex((event, n) => event.seq !== events[n]?.seq || event.event_id !== events[n]?.event_id);
      if (wrong >= 0) this.#says(`subscriber ${who} was shown ${nameOf(events[wrong])} in the place of ${nameOf(log[wrong])}`);
      if (events.length > log.length) this.#says(`subscriber ${who} was shown ${events.length - log.length} events too many`);
      if (events.some(({ id, seq }) => id !== String(seq))) this.#says(`subscriber ${who}: an id that is not the number`);
    });
  }

  /** What is stored, of the chats as far back as this round goes (or wholly). */
  async #stored(pages) {
    for (const { event, data, account_id } of this.log)
      if (event === 'message.received') this.#chats.set((data.message ?? data).chat_id, account_id);
    for (const { answer, account } of this.traffic.outbound.values()) if (answer) this.#chats.set(answer.chat_id, account.id);
    const stored = [];
    for (const chat of this.#chats.keys()) stored.push(...(await this.world.door.chat(chat, pages)));
    return stored;
  }

  /** A message has one id, wherever it is told: in the log, in a caller's answer, in its chat. */
  #named(stored) {
    const ids = new Map([...messages(this.log, 'message.received'), ...messages(this.log, 'message.sent')].map(({ text, id }) => [text, id]));
    const wrong = stored.filter(({ text, id }) => ids.has(text) && ids.get(text) !== id);
    for (const { text, id } of wrong.slice(0, 5)) this.#says(`"${text}" is stored as ${id} and was told as ${ids.get(text)}`);
    for (const [text, { answer }] of this.traffic.outbound)
      if (answer && ids.has(text) && ids.get(text) !== answer.id) this.#says(`"${text}" was answered as ${answer.id} and told as ${ids.get(text)}`);
  }

  /** A receipt that the sandbox saw acknowledged has left its mark. */
  #marked(stored) {
    const missed = stored.filter(({ text, status }) => this.traffic.readings.has(text) && status !== 'read');
    this.#lost('read', missed.map(({ text, status }) => `${text}: ${status}`));
  }

  /** A call repeated under its key answers what it answered before the kill. */
  async #repeats(sent) {
    const older = [...this.traffic.outbound.values()];
    const again = [...sent, ...Array.from({ length: Math.min(REPEATED, older.length) }, () => older[Math.floor(Math.random() * older.length)])];
    for (const { body, answer } of again) {
      const now = await this.world.door.insist('/v1/messages', body);
      // Only what was still on its way may have arrived since.
      if (answer?.status === 'pending') now.status = answer.status;
      if (answer && JSON.stringify(now) !== JSON.stringify(answer))
        this.#says(`${body.idempotency_key} answered ${JSON.stringify(answer)} and now ${JSON.stringify(now)}`);
    }
  }

  /** The sandbox saw no rule broken, no step used twice and nobody who could not read a message. */
  async #wire() {
    const { rules } = await this.world.sim.rules();
    for (const { rule, text, broken } of rules) if (broken) this.#says(`the sandbox counts ${broken} x ${rule}: ${text}`);
    const { stanzas, last_seq } = await this.world.trace(this.#traced);
    this.#traced = last_seq;
    const retries = stanzas.filter(({ stanza }) => /<receipt[^>]* type="?'?retry/.test(stanza));
    if (retries.length) this.#says(`${retries.length} messages could not be decrypted, the first: ${retries[0].device} ${retries[0].stanza}`);
  }

  async round() {
    await this.settle();
    this.world.check();
    await this.#wire();
    const inbound = [...this.traffic.inbound.keys()].slice(this.#seenIn);
    const outbound = [...this.traffic.outbound.keys()].slice(this.#seenOut);
    this.#seenIn += inbound.length;
    this.#seenOut += outbound.length;
    for (const words of await this.desk.missing(REPEATED)) this.#says(words);
    await this.#repeats(outbound.map((text) => this.traffic.outbound.get(text)));
    await this.#read();
    this.#numbers();
    this.#followed();
    await this.cuts?.judge(this.log, (words) => this.#says(words));
    this.#once('events', [...this.traffic.inbound.keys()], texts(this.log, 'message.received'));
    this.#once('events of sends', [...this.traffic.outbound.keys()], texts(this.log, 'message.sent'));
    this.#once('arrived', outbound, this.#arrived(await this.world.inboxes()));
    const stored = await this.#stored(1);
    this.#once('stored', [...inbound, ...outbound], stored.map(({ text }) => text));
    this.#named(stored);
    this.#marked(stored);
    const gone = this.log.filter(({ event }) => event === 'account.unpaired');
    if (gone.length) this.#says(`${gone.length} accounts were lost`);
    return this.broken.length === 0;
  }

  /** All that was ever written. */
  async end() {
    const all = [...this.traffic.inbound.keys(), ...this.traffic.outbound.keys()];
    const stored = await this.#stored(Infinity);
    this.#once('stored in the end', all, stored.map(({ text }) => text));
    this.#named(stored);
    this.#marked(stored);
  }
}
