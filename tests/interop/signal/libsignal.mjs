// A party of a Signal conversation on npm's libsignal, with Baileys' group code on top: both unmodified.
import { createRequire } from 'node:module';
import { BufferJSON } from 'baileys';
import { GroupCipher, GroupSessionBuilder, SenderKeyDistributionMessage } from 'baileys/lib/Signal/Group/index.js';
import { SenderKeyName } from 'baileys/lib/Signal/Group/sender-key-name.js';
import { SenderKeyRecord } from 'baileys/lib/Signal/Group/sender-key-record.js';
import { bare, random24, typed } from './bytes.mjs';

const { curve, ProtocolAddress, SessionBuilder, SessionCipher, SessionRecord } = createRequire(import.meta.url)('libsignal');

/** What the package keeps. Records are stored as copies: a failed attempt to decrypt leaves its traces in the loaded one. */
class Storage {
  sessions = new Map();
  senderKeys = new Map();
  prekeys = new Map();
  signed = new Map();
  identity = curve.generateKeyPair();
  registration = random24() & 0x3fff;

  loadSession = async (address) => {
    const stored = this.sessions.get(address);
    return stored && SessionRecord.deserialize(structuredClone(stored));
  };
  storeSession = async (address, record) => void this.sessions.set(address, structuredClone(record.serialize()));
  isTrustedIdentity = async () => true;
  loadPreKey = async (id) => this.prekeys.get(id);
  removePreKey = async (id) => void this.prekeys.delete(id);
  loadSignedPreKey = async (id) => this.signed.get(id);
  getOurRegistrationId = async () => this.registration;
  getOurIdentity = async () => this.identity;
  loadSenderKey = async (name) => {
    const stored = this.senderKeys.get(name.toString());
    return stored ? SenderKeyRecord.deserialize(stored) : new SenderKeyRecord();
  };
  storeSenderKey = async (name, record) => void this.senderKeys.set(name.toString(), JSON.stringify(record.serialize(), BufferJSON.replacer));
}

export class LibsignalParty {
  kind = 'libsignal';
  #storage = new Storage();

  constructor(name, device) {
    Object.assign(this, { name, device });
  }

  async bundle({ oneTime = true } = {}) {
    const signed = curve.generateKeyPair();
    const id = random24();
    this.#storage.signed.set(id, signed);
    const bundle = {
      registration: this.#storage.registration,
      identity: bare(this.#storage.identity.pubKey),
      signed: { id, key: bare(signed.pubKey), signature: Buffer.from(curve.calculateSignature(this.#storage.identity.privKey, signed.pubKey)) },
    };
    if (oneTime) bundle.oneTime = this.#oneTimeKey();
    return bundle;
  }

  #oneTimeKey() {
    const pair = curve.generateKeyPair();
    const id = random24();
    this.#storage.prekeys.set(id, pair);
    return { id, key: bare(pair.pubKey) };
  }

  async process(peer, bundle) {
    const device = {
      registrationId: bundle.registration,
      identityKey: typed(bundle.identity),
      signedPreKey: { keyId: bundle.signed.id, publicKey: typed(bundle.signed.key), signature: bundle.signed.signature },
      preKey: bundle.oneTime && { keyId: bundle.oneTime.id, publicKey: typed(bundle.oneTime.key) },
    };
    await new SessionBuilder(this.#storage, this.#address(peer)).initOutgoing(device);
  }

  async encrypt(peer, plain) {
    const { type, body } = await this.#cipher(peer).encrypt(plain);
    return { type: type === 3 ? 'pkmsg' : 'msg', body: Buffer.from(body, 'binary') };
  }

  async decrypt(peer, { type, body }) {
    const cipher = this.#cipher(peer);
    return Buffer.from(await (type === 'pkmsg' ? cipher.decryptPreKeyWhisperMessage(body) : cipher.decryptWhisperMessage(body)));
  }

  async groupDistribute(group) {
    const name = this.#senderName(group, this);
    return Buffer.from((await new GroupSessionBuilder(this.#storage).create(name)).serialize());
  }

  async groupProcess(group, author, distribution) {
    const message = new SenderKeyDistributionMessage(null, null, null, null, distribution);
    await new GroupSessionBuilder(this.#storage).process(this.#senderName(group, author), message);
  }

  async groupEncrypt(group, plain) {
    return Buffer.from(await new GroupCipher(this.#storage, this.#senderName(group, this)).encrypt(plain));
  }

  async groupDecrypt(group, author, body) {
    return Buffer.from(await new GroupCipher(this.#storage, this.#senderName(group, author)).decrypt(body));
  }

  #address(peer) {
    return new ProtocolAddress(peer.name, peer.device);
  }

  #cipher(peer) {
    return new SessionCipher(this.#storage, this.#address(peer));
  }

  #senderName(group, author) {
    return new SenderKeyName(group, this.#address(author));
  }

  async close() {}
}
