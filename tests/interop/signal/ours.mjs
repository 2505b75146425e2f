// A party of a Signal conversation on Parley's own code: the program signal-party, asked line by line.
import { Child, program } from '../lib/process.mjs';

const hex = (bytes) => Buffer.from(bytes).toString('hex') || '-';
const bytes = (text) => (text === '-' ? Buffer.alloc(0) : Buffer.from(text, 'hex'));

export class OurParty {
  kind = 'parley';
  #waiting = [];

  constructor(name, device, dir) {
    Object.assign(this, { name, device });
    this.child = new Child({
      program: program('signal-party'), args: [name, String(device)], dir, logName: `signal-party-${name}`,
      onLine: (line) => this.#waiting.shift()?.resolve(line),
    });
    this.child.ended.then(() => this.#waiting.forEach(({ reject }) => reject(new Error(this.child.describeEnd()))));
  }

  async #ask(...words) {
    this.child.check();
    const answer = new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    this.child.writeLine(words.join(' '));
    const [verdict, ...rest] = (await answer).split(' ');
    if (verdict !== 'ok') throw new Error(rest.join(' '));
    return rest;
  }

  async bundle({ oneTime = true } = {}) {
    const [registration, identity, id, key, signature, oneTimeId, oneTimeKey] = await this.#ask('bundle', oneTime ? 1 : 0);
    return {
      registration: Number(registration),
      identity: bytes(identity),
      signed: { id: Number(id), key: bytes(key), signature: bytes(signature) },
      ...(oneTime ? { oneTime: { id: Number(oneTimeId), key: bytes(oneTimeKey) } } : {}),
    };
  }

  async process(peer, { registration, identity, signed, oneTime }) {
    const one = oneTime ? [oneTime.id, hex(oneTime.key)] : ['-', '-'];
    await this.#ask('process', peer.name, peer.device, registration, hex(identity), signed.id, hex(signed.key), hex(signed.signature), ...one);
  }

  async encrypt(peer, plain) {
    const [type, body] = await this.#ask('encrypt', peer.name, peer.device, hex(plain));
    return { type, body: bytes(body) };
  }

  async decrypt(peer, { type, body }) {
    return bytes((await this.#ask('decrypt', peer.name, peer.device, type, hex(body)))[0]);
  }

  async groupDistribute(group) {
    return bytes((await this.#ask('group_distribute', group))[0]);
  }

  async groupProcess(group, author, distribution) {
    await this.#ask('group_process', group, author.name, author.device, hex(distribution));
  }

  async groupEncrypt(group, plain) {
    return bytes((await this.#ask('group_encrypt', group, hex(plain)))[0]);
  }

  async groupDecrypt(group, author, body) {
    return bytes((await this.#ask('group_decrypt', group, author.name, author.device, hex(body)))[0]);
  }

  close() {
    return this.child.stop();
  }
}
