// parleyd as a child process on a data folder that outlives it.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Child, freePort, program } from './process.mjs';
import { until } from './wait.mjs';

/** A program and its words that parleyd runs under: memcheck's valgrind, which needs more time. */
const UNDER = (process.env.PARLEY_UNDER ?? '').split(' ').filter(Boolean);
const READY_MS = UNDER.length ? 120_000 : 20_000;
const STOP_MS = UNDER.length ? 120_000 : 5000;

/** The map of a test: the sanitizers cannot reserve the default one. */
const MAP_BYTES = 8 * 1024 ** 3;

export class Parleyd {
  /** `sim` becomes the sandbox; `rootKey` and `caFile` override what parleyd is told of it. */
  constructor({ dir, sim, rootKey, caFile, workers = 2, extra = [], env = {}, logName = 'parleyd' }) {
    Object.assign(this, { dir, sim, rootKey, caFile, workers, extra, env, logName });
    this.data = join(dir, `${logName}-data`);
  }

  async start() {
    this.port ??= await freePort();
    const [first, ...words] = [...UNDER, program('parleyd'), ...this.#arguments()];
    this.child = new Child({ program: first, args: words, env: { PARLEY_MONITOR: '1', ...this.env }, dir: this.dir, logName: this.logName });
    await until(READY_MS, 'parleyd to be ready', async () => {
      if (this.child.end) return true;
      return (await fetch(`${this.url}/readyz`)).ok;
    });
    this.child.check();
    return this;
  }

  #arguments() {
    const args = ['--data', this.data, '--listen', `127.0.0.1:${this.port}`, '--workers', String(this.workers), '--map-size', String(MAP_BYTES)];
    if (this.sim) {
      args.push('--sandbox-url', this.sim.url, '--sandbox-root-key', this.rootKey ?? this.sim.rootKey,
        '--sandbox-control', `127.0.0.1:${this.sim.controlPort}`);
      const ca = this.caFile ?? this.sim.tls?.ca;
      if (ca) args.push('--sandbox-ca', ca);
    }
    return [...args, ...this.extra];
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The keys that the first start made. */
  key(kind) {
    const file = join(this.data, 'first-keys');
    if (!existsSync(file)) throw new Error(`${file} is not there`);
    const key = new RegExp(`parley_${kind}_[\\w-]+`).exec(readFileSync(file, 'utf8'))?.[0];
    if (!key) throw new Error(`${file} names no ${kind} key`);
    return key;
  }

  get testKey() {
    return this.key('test');
  }

  get liveKey() {
    return this.key('live');
  }

  stop() {
    return this.child.stop(STOP_MS);
  }

  kill(signal) {
    return this.child.kill(signal);
  }

  /** When its case is over: at once, or so that who watches it can tell what it saw. */
  over() {
    return UNDER.length ? this.stop() : this.kill();
  }
}
