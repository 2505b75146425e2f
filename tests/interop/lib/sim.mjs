// parley-sim as a child process, and a client of its control API.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { Child, freePort, program } from './process.mjs';
import { until } from './wait.mjs';

const READY_MS = 15_000;

/** The words that differ between a phone's number as people and as wires write it. */
const digits = (number) => String(number).replace(/^\+/, '');

export class Sim {
  /** Rules that were broken, and by which device, as far as the trace was saved. */
  breaches = [];

  /**
   * `tls` is a certificate of certs.mjs; `state` a folder that makes the sim survive a restart.
   * `extra` are further arguments.
   */
  constructor({ dir, tls, state, rootKeyFile, extra = [], logName = 'sim' }) {
    Object.assign(this, { dir, tls, state, rootKeyFile, extra, logName });
  }

  async start() {
    this.port ??= await freePort();
    this.controlPort ??= await freePort();
    const args = ['--listen', `127.0.0.1:${this.port}`, '--control', `127.0.0.1:${this.controlPort}`, ...this.extra];
    if (this.rootKeyFile) args.push('--root-key-file', this.rootKeyFile);
    if (this.tls) args.push('--tls-cert', this.tls.cert, '--tls-key', this.tls.key);
    if (this.state) args.push('--state', this.state);
    this.child = new Child({ program: program('parley-sim'), args, dir: this.dir, logName: this.logName });
    await until(READY_MS, 'parley-sim to answer', async () => {
      if (this.child.end) return true;
      this.rootKey = await this.#readRootKey();
      return this.rootKey;
    });
    this.child.check();
    return this;
  }

  async #readRootKey() {
    const text = await (await fetch(`${this.control}/root-key`)).text();
    return /[0-9a-f]{64}/i.exec(text)?.[0];
  }

  get url() {
    const name = this.tls ? (this.tls.name ?? 'localhost') : '127.0.0.1';
    return `${this.tls ? 'wss' : 'ws'}://${name}:${this.port}/ws/chat`;
  }

  get control() {
    return `http://127.0.0.1:${this.controlPort}`;
  }

  stop() {
    clearInterval(this.recorder);
    return this.child.stop();
  }

  kill() {
    clearInterval(this.recorder);
    return this.child.kill();
  }

  async #ask(method, path, body) {
    const response = await fetch(this.control + path, {
      method,
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text.trim()}`);
    try {
      return text === '' ? undefined : JSON.parse(text);
    } catch {
      return text;
    }
  }

  addPhone(number, name) {
    return this.#ask('POST', '/phones', { number: digits(number), name });
  }

  scan(number, qr) {
    return this.#ask('POST', `/phones/${digits(number)}/scan`, { qr });
  }

  phoneSends(number, to, text) {
    return this.#ask('POST', `/phones/${digits(number)}/send`, { to: digits(to), text });
  }

  phoneSendsGroup(number, group, text) {
    return this.#ask('POST', `/phones/${digits(number)}/send`, { group, text });
  }

  reply(number, messageId, text) {
    return this.#ask('POST', `/phones/${digits(number)}/reply`, { message_id: messageId, text });
  }

  phoneReads(number, messageId) {
    return this.#ask('POST', `/phones/${digits(number)}/read`, { message_id: messageId });
  }

  async inbox(number) {
    return listOf(await this.#ask('GET', `/phones/${digits(number)}/inbox`));
  }

  async devices(number) {
    return listOf(await this.#ask('GET', `/accounts/${digits(number)}/devices`));
  }

  trace(device) {
    return this.#ask('GET', `/trace${device ? `?device=${encodeURIComponent(device)}` : ''}`);
  }

  /** Adds what went over every wire since the last call to a file of the case's folder. */
  saveTrace() {
    this.saving = (this.saving ?? Promise.resolve()).catch(() => {}).then(() => this.#saveNew());
    return this.saving;
  }

  async #saveNew() {
    if (this.child.end) return;
    const { stanzas, last_seq } = await this.#ask('GET', `/trace?since=${this.traced ?? 0}`);
    const lines = stanzas.map(({ at, device, direction, stanza }) => `${at} ${device} ${direction === 'from_client' ? '>' : '<'} ${stanza}\n`);
    this.traced = last_seq;
    for (const { device, stanza } of stanzas) {
      const rule = /^<!-- rule (\w+) broken/.exec(stanza)?.[1];
      if (rule) this.breaches.push({ device, rule });
    }
    appendFileSync(join(this.dir, `${this.logName}.trace`), lines.join(''));
  }

  /** The sim keeps only the newest stanzas: a long case has them saved as it goes. */
  recordTrace() {
    this.recorder = setInterval(() => this.saveTrace().catch(() => {}), 500);
  }

  /** Arms a fault, `count` times (once without it), or does at once what happens at once. */
  faults(fault) {
    return this.#ask('POST', '/faults', fault);
  }

  /** What the sim refuses, and how often it had to. */
  rules() {
    return this.#ask('GET', '/rules');
  }

  addGroup(group) {
    return this.#ask('POST', '/groups', group);
  }

  settings(change) {
    return this.#ask('POST', '/settings', change);
  }

  clock(change) {
    return this.#ask('POST', '/clock', change);
  }
}

/** A list, bare or as the one list in an object. */
function listOf(answer) {
  if (Array.isArray(answer)) return answer;
  return Object.values(answer ?? {}).find(Array.isArray) ?? [];
}
