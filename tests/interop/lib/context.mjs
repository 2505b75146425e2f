// What a case is given: a folder, starters that end with the case, and ways to skip and to insist.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { makeCertificates } from './certs.mjs';
import { Parleyd } from './parleyd.mjs';
import { findProxy, Proxy } from './proxy.mjs';
import { Peer } from './peer.mjs';
import { runtimes } from './paths.mjs';
import { program } from './process.mjs';
import { Sim } from './sim.mjs';

export class Skip extends Error {}

/** What a case may need: a message why it is missing, or nothing. */
const needs = {
  sim: () => (program('parley-sim') ? undefined : 'parley-sim is not built'),
  'wire-party': () => (program('wire-party') ? undefined : 'wire-party is not built'),
  'signal-party': () => (program('signal-party') ? undefined : 'signal-party is not built'),
  parleyd: () => (program('parleyd') ? undefined : 'parleyd is not built'),
  whatsmeow: () => (existsSync(join(runtimes, 'bin/peer-whatsmeow')) ? undefined : 'the whatsmeow driver is not built'),
  chromium: () => (existsSync(process.env.PARLEY_CHROMIUM || '/usr/bin/chromium') ? undefined : 'Chromium is not installed'),
  nginx: () => (findProxy('nginx') ? undefined : 'nginx is not installed'),
  haproxy: () => (findProxy('haproxy') ? undefined : 'HAProxy is not installed'),
  caddy: () => (findProxy('caddy') ? undefined : 'Caddy is not installed'),
  python: () => (existsSync(process.env.PARLEY_PYTHON ?? '') ? undefined : 'the Python SDK is not installed'),
};

export class Context {
  #ending = [];

  constructor(dir) {
    this.dir = dir;
  }

  need(...names) {
    for (const name of names) {
      const missing = needs[name]?.();
      if (missing) throw new Skip(missing);
    }
  }

  skip(reason) {
    throw new Skip(reason);
  }

  /** Runs `work` when the case ends, last registered first. */
  atEnd(work) {
    this.#ending.push(work);
  }

  async cleanUp() {
    for (const work of this.#ending.reverse()) {
      try {
        await work();
      } catch {
        // The case is over; whatever is left is killed with the runner.
      }
    }
  }

  certificates() {
    return (this.made ??= makeCertificates(this.dir));
  }

  async sim(options = {}) {
    const sim = new Sim({ dir: this.dir, ...options });
    this.atEnd(async () => {
      await sim.saveTrace();
      await sim.kill();
    });
    return sim.start();
  }

  /** A phone in the sim with an unmodified client of that kind linked to it. */
  async pairedPeer(sim, kind, number, options = {}) {
    const peer = this.peer(sim, kind, number, options);
    await sim.addPhone(number, peer.name);
    peer.start();
    await peer.pair();
    return peer;
  }

  peer(sim, kind, number, options = {}) {
    const peer = new Peer({ kind, number, sim, dir: this.dir, caFile: sim.tls?.ca, ...options });
    this.atEnd(() => peer.child?.kill());
    return peer;
  }

  /** A reverse proxy of deploy/ in front of that parleyd. */
  async proxy(kind, parleyd, options = {}) {
    const proxy = new Proxy({ kind, dir: this.dir, backendPort: parleyd.port, certificates: this.certificates(), ...options });
    this.atEnd(() => proxy.kill());
    return proxy.start();
  }

  async parleyd(options = {}) {
    const parleyd = new Parleyd({ dir: this.dir, ...options });
    this.atEnd(() => parleyd.over());
    return parleyd.start();
  }
}

export function check(condition, what) {
  if (!condition) throw new Error(what);
}

export function same(have, want, what) {
  const [a, b] = [JSON.stringify(have), JSON.stringify(want)];
  if (a !== b) throw new Error(`${what}: have ${a}, want ${b}`);
}
