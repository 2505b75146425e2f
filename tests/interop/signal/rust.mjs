// A party of a Signal conversation on whatsapp-rust's Signal code (its WebAssembly package, unmodified).
import {
  generateIdentityKeyPair, generatePreKey, generateRegistrationId, generateSignedPreKey,
  GroupCipher, GroupSessionBuilder, ProtocolAddress, SenderKeyDistributionMessage, SenderKeyName, SessionBuilder, SessionCipher,
} from 'whatsapp-rust-bridge';
import { bare, random24, typed } from './bytes.mjs';

/** What the package keeps, in memory. */
class Storage {
  sessions = new Map();
  senderKeys = new Map();
  prekeys = new Map();
  signed = new Map();
  identity = generateIdentityKeyPair();
  registration = generateRegistrationId();

  loadSession = async (address) => this.sessions.get(address);
  storeSession = async (address, record) => void this.sessions.set(address, record.serialize());
  getOurIdentity = async () => this.identity;
  getOurRegistrationId = async () => this.registration;
  isTrustedIdentity = async () => true;
  loadPreKey = async (id) => this.prekeys.get(id);
  removePreKey = async (id) => void this.prekeys.delete(id);
  loadSignedPreKey = async (id) => this.signed.get(id);
  loadSenderKey = async (id) => this.senderKeys.get(id);
  storeSenderKey = async (id, record) => void this.senderKeys.set(id, record);
}

export class RustParty {
  kind = 'rust';
  #storage = new Storage();

  constructor(name, device) {
    Object.assign(this, { name, device });
  }

  async bundle({ oneTime = true } = {}) {
    const signed = generateSignedPreKey(this.#storage.identity, random24());
    this.#storage.signed.set(signed.keyId, signed);
    const bundle = {
      registration: this.#storage.registration,
      identity: bare(this.#storage.identity.pubKey),
      signed: { id: signed.keyId, key: bare(signed.keyPair.pubKey), signature: Buffer.from(signed.signature) },
    };
    if (oneTime) {
      const one = generatePreKey(random24());
      this.#storage.prekeys.set(one.keyId, one.keyPair);
      bundle.oneTime = { id: one.keyId, key: bare(one.keyPair.pubKey) };
    }
    return bundle;
  }

  async process(peer, bundle) {
    await new SessionBuilder(this.#storage, this.#address(peer)).processPreKeyBundle({
      registrationId: bundle.registration,
      identityKey: typed(bundle.identity),
      signedPreKey: { keyId: bundle.signed.id, publicKey: typed(bundle.signed.key), signature: bundle.signed.signature },
      preKey: bundle.oneTime && { keyId: bundle.oneTime.id, publicKey: typed(bundle.oneTime.key) },
    });
  }

  async encrypt(peer, plain) {
    const { type, body } = await this.#cipher(peer).encrypt(plain);
    return { type: type === 3 ? 'pkmsg' : 'msg', body: Buffer.from(body) };
  }

  async decrypt(peer, { type, body }) {
    const cipher = this.#cipher(peer);
    return Buffer.from(await (type === 'pkmsg' ? cipher.decryptPreKeyWhisperMessage(body) : cipher.decryptWhisperMessage(body)));
  }

  async groupDistribute(group) {
    return Buffer.from((await new GroupSessionBuilder(this.#storage).create(this.#senderName(group, this))).serialize());
  }

  async groupProcess(group, author, distribution) {
    const message = SenderKeyDistributionMessage.deserialize(distribution);
    await new GroupSessionBuilder(this.#storage).process(this.#senderName(group, author), message);
  }

  async groupEncrypt(group, plain) {
    return Buffer.from(await new GroupCipher(this.#storage, group, this.#address(this)).encrypt(plain));
  }

  async groupDecrypt(group, author, body) {
    return Buffer.from(await new GroupCipher(this.#storage, group, this.#address(author)).decrypt(body));
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
