// parleyd as a script sees it: calls by REST, and `GET /v1/events` resumed by the last id.
import { pause } from '../interop/lib/wait.mjs';

export class Refused extends Error {
  constructor(what, status, body) {
    super(`${what}: ${status} ${JSON.stringify(body)}`);
    this.status = status;
  }
}

export class Door {
  constructor(url, key) {
    Object.assign(this, { url, headers: { authorization: `Bearer ${key}` } });
  }

  async ask(method, path, body, ms = 10_000) {
    const init = { method, headers: { ...this.headers }, signal: AbortSignal.timeout(ms) };
    if (body) Object.assign(init, { body: JSON.stringify(body), headers: { ...init.headers, 'content-type': 'application/json' } });
    const response = await fetch(new URL(path, this.url), init);
    const answer = await response.json();
    if (!response.ok) throw new Refused(`${method} ${path}`, response.status, answer);
    return answer;
  }

  /** Repeats a call under its key until it is answered; a kill in between is nobody's fault. */
  async insist(path, body, ms = 60_000) {
    const end = Date.now() + ms;
    for (;;) {
      try {
        return await this.ask('POST', path, body);
      } catch (error) {
        const final = error instanceof Refused && error.status < 500 && error.status !== 409 && error.status !== 429;
        if (final || Date.now() > end) throw error;
        await pause(100);
      }
    }
  }

  /** The events behind a number, oldest first, as far as the log goes now. */
  async log(after) {
    const events = [];
    for (let cursor = String(after); ; ) {
      const page = await this.ask('GET', `/v1/events/log?limit=200&cursor=${cursor}`);
      if (page.truncated) throw new Error(`the log lost events behind ${cursor}`);
      events.push(...page.events);
      if (!page.has_more) return events;
      cursor = page.next_cursor;
    }
  }

  /** The newest messages of a chat, at most `pages` pages. */
  async chat(id, pages) {
    const messages = [];
    let cursor = '';
    while (pages-- > 0) {
      const page = await this.ask('GET', `/v1/chats/${id}/messages?limit=200${cursor}`);
      messages.push(...page.messages);
      if (!page.next_cursor) break;
      cursor = `&cursor=${encodeURIComponent(page.next_cursor)}`;
    }
    return messages;
  }
}

/** A subscriber that lives through kills: what it was shown is in `shown`, in the order of arrival. */
export class Stream {
  begin = 0; // it is shown what comes behind this number; undefined until the server has told it
  shown = []; // events and gaps
  events = [];
  gaps = [];
  resumed = 0;
  isResting = false;
  #ended = false;
  #cut = new AbortController();
  #gate;
  #open;

  /** `isNew`: from now, wherever that is. */
  constructor(door, { isResting = false, isNew = false } = {}) {
    Object.assign(this, { door, isNew });
    this.#anew();
    if (isResting) this.rest();
    this.running = this.#run();
  }

  /** The number it resumes behind. */
  get place() {
    return Number(this.lastId);
  }

  /** Breaks off and stays away until it is woken. */
  rest() {
    if (this.isResting) return;
    this.isResting = true;
    this.#gate = new Promise((resolve) => (this.#open = resolve));
    this.#cut.abort();
  }

  /** Forgets what it has seen and subscribes again, from now. */
  renew() {
    this.#cut.abort();
    this.#anew();
  }

  #anew() {
    this.begin = this.isNew ? undefined : 0;
    this.lastId = this.isNew ? '' : '0';
    Object.assign(this, { shown: [], events: [], gaps: [] });
  }

  wake() {
    this.isResting = false;
    this.#open?.();
  }

  close() {
    this.#ended = true;
    this.#cut.abort();
    this.wake();
    return this.running;
  }

  async #run() {
    for (;;) {
      await this.#gate;
      if (this.#ended) return;
      this.#cut = new AbortController();
      await this.#read().catch(() => {});
      this.resumed++;
      await pause(50 + Math.random() * 100);
    }
  }

  async #read() {
    const { signal } = this.#cut;
    const headers = { ...this.door.headers, accept: 'text/event-stream', ...(this.lastId && { 'last-event-id': this.lastId }) };
    const response = await fetch(new URL('/v1/events', this.door.url), { headers, signal });
    if (!response.ok) throw new Error(`/v1/events: ${response.status}`);
    const decoder = new TextDecoder();
    let text = '';
    for await (const chunk of response.body) {
      if (signal.aborted) return; // of the subscription before
      text += decoder.decode(chunk, { stream: true });
      const frames = text.split(/\r?\n\r?\n/);
      text = frames.pop(); // what a kill cut off has no blank line behind it and counts for nothing
      for (const frame of frames) this.#take(frame);
    }
  }

  #take(frame) {
    const field = (name) => frame.split(/\r?\n/).find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1).trim();
    const id = field('id');
    const data = field('data');
    if (id !== undefined) {
      this.begin ??= Number(id);
      this.lastId = id;
    }
    if (id === undefined || !data) return;
    const one = { id, event: field('event'), ...JSON.parse(data) };
    this.shown.push(one);
    (one.gap ? this.gaps : this.events).push(one);
  }
}
