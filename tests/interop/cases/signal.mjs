// Parley's Signal code against two independent ones, each scenario in both directions.
import { randomBytes } from 'node:crypto';
import { check, same } from '../lib/context.mjs';
import { LibsignalParty } from '../signal/libsignal.mjs';
import { OurParty } from '../signal/ours.mjs';
import { RustParty } from '../signal/rust.mjs';

const GROUP = '120363000000000001@g.us';

const makers = {
  parley: (name, device, t) => new OurParty(name, device, t.dir),
  libsignal: (name, device) => new LibsignalParty(name, device),
  rust: (name, device) => new RustParty(name, device),
};

/** Texts as WhatsApp pads them: 1 to 16 bytes, each the number of them. */
function padded(text) {
  const pad = 1 + (randomBytes(1)[0] & 15);
  return Buffer.concat([Buffer.from(text), Buffer.alloc(pad, pad)]);
}

async function say(from, to, text, message) {
  const plain = padded(text);
  const sent = await from.encrypt(to, plain);
  if (message) same(sent.type, message, `${text}: type`);
  same((await to.decrypt(from, sent)).toString('hex'), plain.toString('hex'), text);
  return sent;
}

async function refused(what, work) {
  const error = await work().then(() => undefined, (error) => error);
  check(error, `${what} was accepted`);
}

/** Refused with this row of errors.def when Parley is asked; the judges have words of their own. */
async function refusedAs(code, what, party, work) {
  const error = await work().then(() => undefined, (error) => error);
  check(error, `${what} was accepted`);
  if (party.kind === 'parley') check(error.message.includes(code), `${what}: ${error.message} instead of ${code}`);
}

async function hear(from, to, plain, sent) {
  same((await to.decrypt(from, sent)).toString('hex'), plain.toString('hex'), 'text');
}

/** A retry receipt brings a bundle: 1 when it took that. */
async function sayOrRetry(from, to, text) {
  const plain = padded(text);
  const sent = await from.encrypt(to, plain);
  try {
    await hear(from, to, plain, sent);
    return 0;
  } catch {
    await meet(from, to);
    await say(from, to, text, 'pkmsg');
    return 1;
  }
}

async function meet(a, b, options) {
  await a.process(b, await b.bundle(options));
}

const flip = (bytes, at) => {
  const copy = Buffer.from(bytes);
  copy[at < 0 ? copy.length + at : at] ^= 1;
  return copy;
};

/**
 * The party that may be given a message of a session that is not its current one. The judges spoil their current session
 * by trying it first and keeping what the failed attempt changed: npm's libsignal always, whatsapp-rust's package unless
 * the older session becomes the current one. Ours has to bear it.
 */
function patient(a, b) {
  return [a, b].find(({ kind }) => kind === 'parley') ?? [a, b].find(({ kind }) => kind === 'rust');
}

/** Each takes an initiator and a responder that have never met. */
const scenarios = {
  'with a one-time prekey': async (a, b) => {
    await meet(a, b);
    await say(a, b, 'first', 'pkmsg');
    await say(b, a, 'answer', 'msg');
    await say(a, b, 'on', 'msg');
    for (let n = 0; n < 20; n++) await (n % 3 ? say(a, b, `a ${n}`, 'msg') : say(b, a, `b ${n}`, 'msg'));
  },
  'without a one-time prekey': async (a, b) => {
    await meet(a, b, { oneTime: false });
    await say(a, b, 'first', 'pkmsg');
    await say(b, a, 'answer', 'msg');
    await say(a, b, 'on', 'msg');
  },
  'repeated pkmsg': async (a, b) => {
    await meet(a, b);
    for (let n = 0; n < 5; n++) await say(a, b, `unanswered ${n}`, 'pkmsg');
    await say(b, a, 'at last', 'msg');
    await say(a, b, 'good', 'msg');
  },
  'out of order': async (a, b) => {
    await meet(a, b);
    await say(a, b, 'first');
    await say(b, a, 'answer');
    const texts = [...Array(30).keys()].map((n) => padded(`number ${n}`));
    const sent = [];
    for (const text of texts) sent.push(await a.encrypt(b, text));
    // One of every turn of the ratchet is kept back until the ratchet has moved on.
    const kept = sent.splice(4, 3).map((message, n) => [message, texts.splice(4, 1)[0], n]);
    for (const n of [...sent.keys()].reverse()) same((await b.decrypt(a, sent[n])).equals(texts[n]), true, `number ${n}`);
    for (let n = 0; n < 3; n++) {
      await say(b, a, `turn ${n}`);
      await say(a, b, `return ${n}`);
    }
    for (const [message, text] of kept) same((await b.decrypt(a, message)).equals(text), true, 'kept back');
  },
  'replay': async (a, b) => {
    await meet(a, b);
    await say(a, b, 'first');
    await say(b, a, 'answer');
    const again = await say(a, b, 'once');
    await refusedAs('OLD_COUNTER', 'a message for the second time', b, () => b.decrypt(a, again));
    await say(a, b, 'still alive');
  },
  'simultaneous initiation': async (a, b) => {
    await meet(a, b);
    await meet(b, a);
    const [one, two] = [padded('from a'), padded('from b')];
    const fromA = await a.encrypt(b, one);
    const fromB = await b.encrypt(a, two);
    same([fromA.type, fromB.type], ['pkmsg', 'pkmsg'], 'types');
    same((await b.decrypt(a, fromA)).equals(one), true, 'from a');
    same((await a.decrypt(b, fromB)).equals(two), true, 'from b');
    const listener = patient(a, b);
    const speaker = listener === a ? b : a;
    for (let n = 0; n < 4; n++) {
      await say(speaker, listener, `speaker ${n}`);
      await say(listener, speaker, `listener ${n}`);
    }
  },
  // Messages of both cross after both sessions stand. Each judge, talking to itself, loses the conversation here;
  // with ours it must heal as clients do, by retries, and soon.
  'simultaneous initiation, crossing': async (a, b) => {
    if (a.kind !== 'parley' && b.kind !== 'parley') return;
    await meet(a, b);
    await meet(b, a);
    for (let n = 0; n < 2; n++) {
      const texts = [padded(`a ${n}`), padded(`b ${n}`)];
      const sent = [await a.encrypt(b, texts[0]), await b.encrypt(a, texts[1])];
      await hear(a, b, texts[0], sent[0]);
      await hear(b, a, texts[1], sent[1]);
    }
    let retries = 0;
    let quiet = 0;
    for (let n = 0; n < 20; n++) {
      const again = (await sayOrRetry(a, b, `a ${n}`)) + (await sayOrRetry(b, a, `b ${n}`));
      retries += again;
      quiet = again ? 0 : quiet + 1;
    }
    check(retries <= 3 && quiet >= 15, `${retries} retries, then ${quiet} quiet rounds`);
  },
  'late messages of the ratchet key before': async (a, b) => {
    await meet(a, b);
    await say(a, b, 'first');
    await say(b, a, 'answer');
    const texts = [...Array(5).keys()].map((n) => padded(`late ${n}`));
    const sent = [];
    for (const text of texts) sent.push(await a.encrypt(b, text));
    await say(b, a, 'turn');
    await say(a, b, 'first of the new key');
    for (const n of [4, 0, 2, 1, 3]) await hear(a, b, texts[n], sent[n]);
    await say(b, a, 'answer');
    await say(a, b, 'on');
  },
  'a gap of 1,900, and one above 2,000': async (a, b) => {
    await meet(a, b);
    await say(a, b, 'first');
    await say(b, a, 'answer');
    const lost = padded('lost');
    let kept;
    for (let n = 0; n < 1900; n++) {
      const message = await a.encrypt(b, lost);
      if (n === 50) kept = message;
    }
    await say(a, b, 'far');
    await hear(a, b, lost, kept);
    await refusedAs('OLD_COUNTER', 'a message for the second time', b, () => b.decrypt(a, kept));
    if (b.kind === 'rust') return; // it goes as far as 25,000
    for (let n = 0; n < 2100; n++) await a.encrypt(b, lost);
    const beyond = await a.encrypt(b, lost);
    await refusedAs('FUTURE_MESSAGE', 'a message 2,100 ahead', b, () => b.decrypt(a, beyond));
  },
  'a new session replaces the old one': async (a, b) => {
    await meet(a, b);
    await say(a, b, 'first');
    await say(b, a, 'answer');
    const late = padded('sent before');
    const before = await b.encrypt(a, late);
    await meet(a, b);
    await say(a, b, 'again', 'pkmsg');
    if (a.kind === 'parley') same((await a.decrypt(b, before)).equals(late), true, 'a message of the older session');
    await say(b, a, 'answer again');
    await say(a, b, 'on', 'msg');
  },
  'tampered': async (a, b) => {
    await meet(a, b);
    const plain = padded('first');
    const good = await a.encrypt(b, plain);
    await refused('a pkmsg with another MAC', () => b.decrypt(a, { ...good, body: flip(good.body, -1) }));
    same((await b.decrypt(a, good)).equals(plain), true, 'the untouched twin');
    await say(b, a, 'answer');
    const next = padded('next');
    const message = await a.encrypt(b, next);
    await refusedAs('BAD_MAC', 'a message with another MAC', b, () => b.decrypt(a, { ...message, body: flip(message.body, -1) }));
    await refused('a message with another text', () => b.decrypt(a, { ...message, body: flip(message.body, message.body.length >> 1) }));
    await refused('a message cut short', () => b.decrypt(a, { ...message, body: message.body.subarray(0, -9) }));
    same((await b.decrypt(a, message)).equals(next), true, 'the untouched twin');
  },
  'forged signature of a bundle': async (a, b) => {
    const bundle = await b.bundle();
    bundle.signed.signature = flip(bundle.signed.signature, 5);
    // npm's libsignal reports only what cannot be a signature at all; the others must refuse.
    if (a.kind !== 'libsignal') await refusedAs('BAD_SIGNATURE', 'a forged bundle', a, () => a.process(b, bundle));
  },
  'a group': async (a, b) => {
    await b.groupProcess(GROUP, a, await a.groupDistribute(GROUP));
    const texts = [...Array(12).keys()].map((n) => padded(`to all ${n}`));
    const sent = [];
    for (const text of texts) sent.push(await a.groupEncrypt(GROUP, text));
    for (const n of [0, 1, 5, 3, 2, 4, 11, 7, 6, 10, 8, 9])
      same((await b.groupDecrypt(GROUP, a, sent[n])).equals(texts[n]), true, `to all ${n}`);
    await refused('a group message for the second time', () => b.groupDecrypt(GROUP, a, sent[3]));
    const last = padded('last');
    const message = await a.groupEncrypt(GROUP, last);
    await refused('a group message with another signature', () => b.groupDecrypt(GROUP, a, flip(message, -1)));
    same((await b.groupDecrypt(GROUP, a, message)).equals(last), true, 'the untouched twin');
    // Told again in the middle: what was sent since is still readable.
    await b.groupProcess(GROUP, a, await a.groupDistribute(GROUP));
    const after = padded('after');
    same((await b.groupDecrypt(GROUP, a, await a.groupEncrypt(GROUP, after))).equals(after), true, 'after the second distribution');
  },
  'a late joiner of a group, and a gap': async (a, b) => {
    await a.groupDistribute(GROUP);
    const before = await a.groupEncrypt(GROUP, padded('before'));
    await b.groupProcess(GROUP, a, await a.groupDistribute(GROUP));
    await refusedAs('OLD_COUNTER', 'a message from before', b, () => b.groupDecrypt(GROUP, a, before));
    const lost = padded('lost');
    let kept;
    // Baileys' sender skips every second key, so this is a gap of 950 or of 1,900.
    for (let n = 0; n < 950; n++) {
      const message = await a.groupEncrypt(GROUP, lost);
      if (n === 400) kept = message;
    }
    const far = padded('far');
    same((await b.groupDecrypt(GROUP, a, await a.groupEncrypt(GROUP, far))).equals(far), true, 'far');
    same((await b.groupDecrypt(GROUP, a, kept)).equals(lost), true, 'kept back');
    await refusedAs('OLD_COUNTER', 'a message for the second time', b, () => b.groupDecrypt(GROUP, a, kept));
    const spoiled = flip(await a.groupEncrypt(GROUP, far), -1);
    await refusedAs('BAD_SIGNATURE', 'another signature', b, () => b.groupDecrypt(GROUP, a, spoiled));
  },
};

/** libsignal prints sessions and secrets as it works; nobody needs them here. */
async function quietly(work) {
  const names = ['log', 'info', 'warn', 'error'];
  const kept = names.map((name) => console[name]);
  names.forEach((name) => (console[name] = () => {}));
  try {
    return await work();
  } finally {
    names.forEach((name, n) => (console[name] = kept[n]));
  }
}

async function pairOf(t, first, second) {
  let parties = 0;
  for (const [name, scenario] of Object.entries(scenarios)) {
    for (const [a, b] of [[first, second], [second, first]]) {
      const id = ++parties;
      const alice = makers[a](`alice${id}@lid`, 5, t);
      const bob = makers[b](`bob${id}@lid`, 0, t);
      try {
        await quietly(() => scenario(alice, bob));
      } catch (error) {
        throw new Error(`${name}, ${a} to ${b}: ${error.message ?? error}`, { cause: error });
      } finally {
        await alice.close();
        await bob.close();
      }
    }
  }
}

export const signalCases = [
  {
    name: 'signal-oracles',
    about: 'the two judges of our Signal code agree with each other',
    run: (t) => pairOf(t, 'libsignal', 'rust'),
  },
  ...['libsignal', 'rust'].map((judge) => ({
    name: `signal-${judge}`,
    about: `our Signal code and ${judge === 'rust' ? "whatsapp-rust's" : "npm's libsignal"} in ${Object.keys(scenarios).length} scenarios, both directions`,
    needs: ['signal-party'],
    run: (t) => pairOf(t, 'parley', judge),
  })),
];
