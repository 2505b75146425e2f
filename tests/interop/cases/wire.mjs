// Our stanza codec between two independent ones: what they encode we decode and encode again, and they must read the
// same stanza in it. Stanzas are random, with the values that have forms of their own.
import { createHash } from 'node:crypto';
import { decodeBinaryNode, encodeBinaryNode } from 'baileys';
import { decodeNode as rustDecode, encodeNode as rustEncode } from 'whatsapp-rust-bridge';
import { same } from '../lib/context.mjs';
import { Child, program } from '../lib/process.mjs';

const STANZAS = 400;

/** Repeatable: the n-th stanza of a seed is always the same. */
class Chance {
  #left = [];
  #block = 0;

  constructor(seed) {
    this.seed = seed;
  }

  byte() {
    if (!this.#left.length) this.#left = [...createHash('sha256').update(`${this.seed} ${this.#block++}`).digest()];
    return this.#left.pop();
  }

  below(n) {
    return ((this.byte() << 16) | (this.byte() << 8) | this.byte()) % n;
  }

  of(list) {
    return list[this.below(list.length)];
  }

  bytes(n) {
    return Buffer.from(Array.from({ length: n }, () => this.byte()));
  }
}

const words = ['message', 'iq', 'receipt', 'participant', 'pair-device', 'w:gp2', 'abt', 'never seen before', 'x', 'ü 漢 😀', 'status@broadcast'];
const values = [
  (chance) => chance.of(words),
  (chance) => String(chance.below(1e7)) + String(chance.below(1e7)),
  (chance) => chance.bytes(1 + chance.below(20)).toString('hex').toUpperCase(),
  (chance) => `${1555000 + chance.below(99999)}@s.whatsapp.net`,
  (chance) => `${1555000 + chance.below(99999)}:${1 + chance.below(99)}@s.whatsapp.net`,
  (chance) => `${777000 + chance.below(99999)}@lid`,
  (chance) => `${777000 + chance.below(99999)}:${1 + chance.below(99)}@lid`,
  (chance) => `${120363000 + chance.below(99999)}@g.us`,
  () => '@s.whatsapp.net',
  () => '2.3000-1_',
  (chance) => 'long '.repeat(10 + chance.below(300)),
  (chance) => '1234567890'.repeat(1 + chance.below(14)).slice(0, 1 + chance.below(127)),
];

function randomNode(chance, depth) {
  const node = { tag: chance.of(words.slice(0, 8)), attrs: {} };
  for (let n = chance.below(6); n > 0; n--) node.attrs[chance.of(['id', 'type', 'to', 'from', 'participant', 'odd-key', 't', 'count'])] = chance.of(values)(chance);
  const kind = chance.below(4);
  if (kind === 0) node.content = chance.bytes(chance.of([1, 20, 255, 256, 300, 5000]));
  if (kind > 1 && depth > 0) {
    // Now and then more children than one byte counts, but those have none of their own.
    const many = chance.below(20) === 0;
    node.content = Array.from({ length: 1 + chance.below(many ? 300 : 4) }, () => randomNode(chance, many ? 0 : depth - 1));
  }
  return node;
}

/** One form for comparison: sorted attributes, bytes as hex; a text stands for its bytes. */
function plain(node) {
  const attrs = Object.fromEntries(Object.entries(node.attrs ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => [key, oneForm(String(value))]));
  const { content } = node;
  return {
    tag: node.tag,
    attrs,
    content: Array.isArray(content) ? content.map(plain) : content === undefined || content === null || content.length === 0 ? null : Buffer.from(content).toString('hex'),
  };
}

/** The bare server is a JID without a user; decoders differ in whether they show the @. */
const oneForm = (value) => (value === 's.whatsapp.net' ? '@s.whatsapp.net' : value);

const codecs = {
  baileys: {
    encode: (node) => encodeBinaryNode(node),
    decode: (bytes) => decodeBinaryNode(Buffer.from(bytes)),
  },
  rust: {
    encode: (node) => Buffer.from(rustEncode(node)),
    decode: async (bytes) => rustDecode(bytes).toJSON(),
  },
};

class WireParty {
  #waiting = [];

  constructor(dir) {
    const onLine = (line) => this.#waiting.shift()?.(line);
    this.child = new Child({ program: program('wire-party'), dir, logName: 'wire-party', onLine });
    this.child.ended.then(() => this.#waiting.forEach((tell) => tell(`error ${this.child.describeEnd()}`)));
  }

  async again(bytes, how) {
    this.child.check();
    const line = await new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.child.writeLine(`${how} ${Buffer.from(bytes).toString('hex')}`);
    });
    if (!line.startsWith('ok ')) throw new Error(line);
    return Buffer.from(line.slice(3), 'hex');
  }
}

async function between(t, maker) {
  const party = new WireParty(t.dir);
  t.atEnd(() => party.child.kill());
  for (let n = 0; n < STANZAS; n++) {
    const node = randomNode(new Chance(`stanza ${n}`), 4);
    const sent = codecs[maker].encode(node);
    const wanted = plain(await codecs[maker].decode(sent));
    for (const how of ['plain', 'deflated']) {
      const ours = await party.again(sent, how).catch((error) => {
        throw new Error(`stanza ${n}: ${error.message}`);
      });
      for (const [reader, codec] of Object.entries(codecs)) {
        // whatsapp-rust's decoder of this package takes no compressed stanza.
        if (reader === 'rust' && how === 'deflated') continue;
        same(plain(await codec.decode(ours)), wanted, `stanza ${n} of ${maker}, ${how}, read by ${reader}`);
      }
    }
  }
  await party.child.stop();
}

export const wireCases = Object.keys(codecs).map((maker) => ({
  name: `wire-${maker}`,
  about: `${STANZAS} random stanzas encoded by ${maker}, decoded and encoded again by us, read by both judges`,
  needs: ['wire-party'],
  run: (t) => between(t, maker),
}));
