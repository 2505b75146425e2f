// Retention among kills: the servers of some rounds keep so little of the log that they cut it as soon as they run, and a subscriber
// stays away until its place was cut. What it must be told then is exactly what is lost.
import { until } from '../interop/lib/wait.mjs';

const SMALL_EVERY = 3; // rounds
const SMALL_BYTES = 65_536; // the least that the server takes
const CUT_MS = 30_000; // upkeep begins a second after the start, on a busy machine later
const HEAD_BYTES = 19; // of a row, before the event's own bytes
const JUDGED_FROM = 9; // rounds, from which on somebody must have come back behind a cut

/** Arguments of the server that is started in this round. */
export const keeps = (round) => (round > 0 && round % SMALL_EVERY === 0 ? ['--event-bytes', String(SMALL_BYTES)] : []);

export class Cuts {
  cut = 0; // the newest number that is known to be cut
  times = 0;
  #due = 0; // cut when the straggler was called back
  #logged = 0; // events before this round

  /** `straggler` is a stream of its own, which rests. */
  constructor(world, straggler) {
    Object.assign(this, { world, straggler });
  }

  /** Before the traffic of a round: who has lost its place comes back among it. */
  begin(log) {
    this.#logged = log.length;
    if (this.straggler.isResting && this.straggler.place < this.cut) {
      this.#due = this.cut;
      this.straggler.wake();
    }
  }

  /** True when the straggler is away, or has seen the newest event. */
  isWithout(log) {
    return this.straggler.isResting || this.straggler.place === log.length;
  }

  /** What is wrong with a page behind `place`, in words; learns how far the log is cut. */
  async #page(place, says) {
    const { events, truncated, next_cursor: next } = await this.world.door.ask('GET', `/v1/events/log?limit=1&cursor=${place}`);
    const cut = (events[0]?.seq ?? Number(next) + 1) - 1;
    if (truncated !== cut > place) says(`the page behind ${place} goes on behind ${cut} and says "truncated": ${truncated}`);
    if (cut < Math.max(place, this.cut)) says(`the page behind ${place} begins with ${cut + 1}, and ${this.cut} were cut`);
    return cut;
  }

  #bytes(events) {
    return events.reduce((sum, { seq, ...event }) => sum + HEAD_BYTES + Buffer.byteLength(JSON.stringify(event)), 0);
  }

  async #look(log, says) {
    const cut = await this.#page(0, says);
    if (cut <= this.cut) return;
    this.times++;
    const kept = this.#bytes(log.slice(cut));
    if (!this.world.mayCut) says(`the log was cut up to ${cut}, and has room for all`);
    else if (kept < 0.9 * SMALL_BYTES) says(`the log was cut up to ${cut}, and keeps only ${kept} bytes`);
    this.cut = cut;
  }

  /** What was there when a small server started is cut by it. */
  async #await(log, says) {
    await until(CUT_MS, 'retention to cut the log', async () => {
      await this.#look(log, says);
      return this.#bytes(log.slice(this.cut, this.#logged)) <= SMALL_BYTES;
    }, 200).catch((error) => says(error.message));
  }

  /** Every number in its order, shown or told as lost, and nothing told as lost that is kept. */
  #judgeStraggler(log, says) {
    let at = 0;
    for (const { gap, reset, first, last, seq, event_id: name, id } of this.straggler.shown) {
      const to = gap ? last : seq;
      if (gap && (reset || first !== at + 1 || last < first || last > this.cut))
        return says(`the straggler at ${at} is told that it missed ${first} to ${last}, and ${this.cut} were cut`);
      if (!gap && (seq !== at + 1 || name !== log[at]?.event_id))
        return says(`the straggler at ${at} was shown ${seq} (${name}) in the place of ${log[at]?.event_id}`);
      if (id !== String(to)) return says(`the straggler was shown ${to} under the id ${id}`);
      at = to;
    }
    const { gaps } = this.straggler;
    if (this.#due && (gaps.at(-1)?.last ?? 0) < this.#due) says(`the straggler came back behind a cut at ${this.#due} and was not told so`);
    if (!this.straggler.isResting && at !== log.length) says(`the straggler has seen ${at} of ${log.length} events`);
  }

  /** After a round. The straggler goes away again once it is judged. */
  async judge(log, says) {
    if (this.world.isSmall) await this.#await(log, says);
    else await this.#look(log, says);
    for (const place of [Math.max(0, this.cut - 1), this.cut, log.length]) await this.#page(place, says);
    this.#judgeStraggler(log, says);
    this.straggler.rest();
    this.#due = 0;
  }

  summary(rounds) {
    const { gaps } = this.straggler;
    const lost = gaps.reduce((sum, { first, last }) => sum + last - first + 1, 0);
    if (rounds >= JUDGED_FROM && gaps.length === 0) throw new Error('nobody came back behind a cut');
    return `the log was cut ${this.times} times, up to ${this.cut}; ${gaps.length} gaps told, of ${lost} events`;
  }
}
