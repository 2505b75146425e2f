// Waiting for things: every wait in these tests has a deadline and says what it waited for.

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Timeout extends Error {}

/** Rejects with what was awaited when `promise` takes longer than `ms`. */
export async function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Timeout(`after ${ms / 1000} s: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks `probe` until it answers something true, and answers that. Errors count as "not yet". */
export async function until(ms, what, probe, every = 50) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    try {
      const answer = await probe();
      if (answer) return answer;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Timeout(`after ${ms / 1000} s: ${what}${last ? ` (${last.message})` : ''}`);
    await pause(every);
  }
}

/** A list that grows and can be waited on; what came before the wait counts. */
export class Feed {
  #waiters = new Set();
  items = [];

  push(item) {
    this.items.push(item);
    for (const waiter of [...this.#waiters]) waiter();
  }

  /** The first item that fits, from index `from` on. */
  async first(ms, what, fits, from = 0) {
    let next = from;
    let wake;
    const find = () => {
      for (; next < this.items.length; next++) if (fits(this.items[next])) return this.items[next];
      return undefined;
    };
    const found = find();
    if (found) return found;
    try {
      return await within(
        ms,
        what,
        new Promise((resolve) => {
          wake = () => {
            const item = find();
            if (item) resolve(item);
          };
          this.#waiters.add(wake);
        }),
      );
    } finally {
      this.#waiters.delete(wake);
    }
  }

  /** All items that fit once there are `count` of them. */
  async several(ms, what, count, fits) {
    const all = () => this.items.filter(fits);
    if (all().length < count)
      await this.first(ms, `${what} (${count} of them)`, () => all().length >= count).catch((error) => {
        throw error instanceof Timeout ? new Timeout(`${error.message}, have ${all().length}`) : error;
      });
    return all();
  }
}
