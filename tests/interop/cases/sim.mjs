// The sim judged by unmodified clients, before any client of ours exists.
import { check, same } from '../lib/context.mjs';
import { peerKinds } from '../lib/peer.mjs';
import { until } from '../lib/wait.mjs';

const FRIEND = '15550001900';
const numbers = { baileys: '15550001001', rust: '15550001002', whatsmeow: '15550001003' };

/** Pairs, survives the 515 restart, logs in again from its state, and is removed when it logs out. */
async function pairAndReturn(t, kind) {
  const sim = await t.sim();
  const number = numbers[kind];
  const peer = await t.pairedPeer(sim, kind, number);
  check(peer.identity.jid?.startsWith(`${number}:`), `paired as ${peer.identity.jid}, want a device of ${number}`);
  check(/@lid$/.test(peer.identity.lid ?? ''), `paired without a LID: ${peer.identity.lid}`);
  await sameDevices(sim, number, 1);

  // The phone writes: the companion decrypts, so its prekeys and identity are right.
  await sim.addPhone(FRIEND, 'Somebody');
  await sim.phoneSends(FRIEND, number, 'before the restart');
  await peer.received('before the restart');

  await peer.restart();
  await peer.opened();
  check(!peer.events.items.some(({ event }) => event === 'qr' || event === 'paired'), 'paired again after the restart');
  await sim.phoneSends(FRIEND, number, 'after the restart');
  await peer.received('after the restart');

  // What was written while it was away waits for it.
  await peer.stop();
  await sim.phoneSends(FRIEND, number, 'while away');
  peer.start();
  await peer.opened();
  await peer.received('while away');

  if (kind === 'rust') await resumes(sim, peer);
  await nothingRefused(sim);
  peer.logout();
  await sameDevices(sim, number, 0);
}

/** whatsapp-rust resumes with Noise IK from its third connection on, and falls back when the server has another key. */
async function resumes(sim, peer) {
  same((await peer.event('handshake')).pattern, 'IK', 'the handshake of a known device');
  await sim.faults({ fault: 'decline_ik' });
  await peer.restart();
  await peer.opened();
  same((await peer.event('handshake')).pattern, 'XXfallback', 'the handshake after the server declined');
}

/** The companions that the sim counts for an account, the phone itself aside. */
async function sameDevices(sim, number, count) {
  const companions = async () => (await sim.devices(number)).filter(({ device }) => device !== 0);
  await until(10_000, `${number} to have ${count} companions`, async () => (await companions()).length === count);
}

/** A sim that comes back under its clients: they reconnect and what they had goes on. */
async function simRestarts(t) {
  const sim = await t.sim({ state: `${t.dir}/sim-state` });
  const peers = [];
  for (const kind of peerKinds) peers.push(await t.pairedPeer(sim, kind, numbers[kind]));
  await everyDirection(peers, 'before');
  const marks = peers.map((peer) => peer.events.items.length);
  await sim.kill();
  await sim.start();
  await Promise.all(peers.map((peer, n) => peer.opened(marks[n])));
  await everyDirection(peers, 'after');
}

/** Three unmodified clients write to each other in all six directions; each text is read and receipted. */
async function triangle(t) {
  const sim = await t.sim(t.simOptions ?? {});
  const peers = [];
  for (const kind of peerKinds) peers.push(await t.pairedPeer(sim, kind, numbers[kind]));
  await everyDirection(peers, 'first');
  // Ratchets that turned once are used again, now without prekeys.
  await everyDirection(peers, 'second');
  for (const peer of peers) {
    const strange = peer.events.items.filter(({ event }) => event === 'undecryptable' || event === 'error');
    same(strange, [], `${peer.name} had trouble`);
  }
  await nothingRefused(sim);
}

async function everyDirection(peers, round) {
  for (const from of peers)
    for (const to of peers) if (from !== to) await oneMessage(from, to, `${round}: ${from.name} to ${to.name}`);
}

async function oneMessage(from, to, text) {
  const id = await from.send(to.number, text);
  const message = await to.received(text);
  same([message.id, message.from, message.chat], [id, from.number, from.number], `${text}: message`);
  await from.events.first(20_000, `${text}: delivery receipt`, ({ event, id: of, type }) =>
    event === 'receipt' && of === id && (type === 'delivery' || type === 'inactive'));
  to.read(from.number, [id]);
  await from.event('receipt', { id, type: 'read' });
}

/** Three clients and a phone in a group: everybody reads what each writes, twice, the second time without new keys. */
async function group(t, addressing_mode) {
  const sim = await t.sim();
  const peers = [];
  for (const kind of peerKinds) peers.push(await t.pairedPeer(sim, kind, numbers[kind]));
  await sim.addPhone(FRIEND, 'Friend');
  const members = [FRIEND, ...peers.map(({ number }) => number)];
  const { id } = await sim.addGroup({ subject: 'All together', members, addressing_mode });
  for (const round of ['first', 'second']) {
    for (const from of peers) {
      const text = `${round} of ${from.name} to all`;
      await from.sendGroup(id, text);
      for (const to of peers.filter((peer) => peer !== from)) {
        const message = await to.received(text);
        same([message.chat, message.from], [id, from.number], `${text}, as ${to.name} reads it`);
      }
      await until(10_000, `the phone to read "${text}"`, async () => (await sim.inbox(FRIEND)).some((letter) => letter.text === text));
    }
    await sim.phoneSendsGroup(FRIEND, id, `${round} of the phone to all`);
    for (const to of peers) await to.received(`${round} of the phone to all`);
  }
  await nothingRefused(sim);
}

/** What may happen to a stanza on its way to a device; whatever it is, the message gets there. */
const mishaps = [
  'compress', 'join', 'split', 'duplicate', 'wrong_mac', 'server_ping', 'edge_routing', 'device_list_change',
  'low_prekeys', 'cut', 'close', 'stream_end', 'drop',
];

/** What a client cannot take: whatsmeow counts the header of a frame that comes in two parts among its bytes. */
const unbearable = { whatsmeow: ['split'] };

/** A client lives through every mishap: it asks again, reconnects, and reads what was written to it. */
async function everyMishap(t, kind) {
  const sim = await t.sim();
  const number = numbers[kind];
  const peer = await t.pairedPeer(sim, kind, number);
  await sim.addPhone(FRIEND, 'Friend');
  await sim.phoneSends(FRIEND, number, 'to begin with');
  await peer.received('to begin with');
  for (const fault of mishaps.filter((fault) => !unbearable[kind]?.includes(fault))) {
    const mark = peer.events.items.length;
    await sim.faults({ fault, device: number, value: fault === 'low_prekeys' ? 3 : 0 });
    await sim.phoneSends(FRIEND, number, `after ${fault}`);
    // What was never sent comes again only after a reconnect.
    if (fault === 'drop') await sim.faults({ fault: 'close', device: number });
    // A frame that waits for the next needs one.
    if (fault === 'join') await sim.phoneSends(FRIEND, number, 'next to join');
    await peer.received(`after ${fault}`, { ms: 40_000 });
    if (['cut', 'close', 'stream_end', 'drop'].includes(fault)) await peer.opened(mark);
  }
  const inbox = await sim.inbox(FRIEND);
  const late = inbox.filter(({ from_me, status }) => from_me && !['delivered', 'read'].includes(status));
  same(late.map(({ text }) => text), [], 'messages without a delivery receipt');
}

/** Nothing in these runs may have broken a rule of the sim: they are all unmodified clients. */
async function nothingRefused(sim) {
  const { rules } = await sim.rules();
  same(rules.filter(({ broken }) => broken > 0).map(({ rule, broken }) => `${rule} ${broken}`), [], 'rules that were broken');
}

export const simCases = [
  ...peerKinds.map((kind) => ({
    name: `sim-${kind}`,
    about: `${kind} pairs by QR, survives the 515 restart, comes back from its state, logs out`,
    needs: ['sim', ...(kind === 'whatsmeow' ? ['whatsmeow'] : [])],
    run: (t) => pairAndReturn(t, kind),
  })),
  ...peerKinds.map((kind) => ({
    name: `sim-faults-${kind}`,
    about: `${kind} lives through ${mishaps.length} mishaps and still reads every message`,
    needs: ['sim', ...(kind === 'whatsmeow' ? ['whatsmeow'] : [])],
    ms: 400_000,
    run: (t) => everyMishap(t, kind),
  })),
  {
    name: 'sim-triangle',
    about: 'three clients of three makers write to each other in all six directions',
    needs: ['sim', 'whatsmeow'],
    run: triangle,
  },
  ...['lid', 'pn'].map((mode) => ({
    name: `sim-group-${mode}`,
    about: `three clients and a phone in a group with ${mode} addressing read each other`,
    needs: ['sim', 'whatsmeow'],
    run: (t) => group(t, mode),
  })),
  {
    name: 'sim-triangle-wss',
    about: 'the same over TLS with a test CA',
    needs: ['sim', 'whatsmeow'],
    run: (t) => {
      t.simOptions = { tls: t.certificates().good };
      return triangle(t);
    },
  },
  {
    name: 'sim-restart',
    about: 'the sim is killed and comes back with its state; the clients go on',
    needs: ['sim', 'whatsmeow'],
    run: simRestarts,
  },
];
