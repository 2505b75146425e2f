// Everything that can go wrong on the way, between parleyd and each real client, in both directions: what is spoilt is
// asked for again, what is cut off comes again, and every message is there once.
import { same } from '../lib/context.mjs';
import { peerKinds } from '../lib/peer.mjs';
import { RestSubscriber } from '../lib/subscribers.mjs';
import { messageOf, pairAccount, wholeChat } from '../lib/tools.mjs';
import { until } from '../lib/wait.mjs';
import { open } from './main.mjs';

const ACCOUNT = '15550006000';
const PEER = '15550006001';
const ARRIVES_MS = 40_000;

/** On the way to us. */
const inbound = [
  'compress', 'join', 'split', 'duplicate', 'wrong_mac', 'redeliver', 'server_ping', 'edge_routing', 'device_list_change',
  'low_prekeys', 'lose_prekeys', 'cut', 'corrupt', 'close', 'stream_end', 'drop', 'stream_error',
];

/** On the way to the client; the rest of what it bears is judged by sim-faults. */
const outbound = ['wrong_mac', 'duplicate', 'missing_prekey', 'close', 'drop', 'device_list_change', 'no_answer', 'drop_ack'];

/** What a fault needs besides its name. */
const values = { low_prekeys: { value: 3 }, stream_error: { value: 503 }, redeliver: { value: 2 }, no_answer: { tag: 'usync' } };

/** These are about requests of the sender, not about stanzas to the receiver. */
const ofSender = ['missing_prekey', 'no_answer', 'drop_ack'];

async function arm(sim, fault, device) {
  await sim.faults({ fault, device, ...values[fault] });
}

/** What was never sent, or waits for another frame, needs something to happen before it comes. */
async function help(sim, fault, device, another) {
  if (fault === 'drop') await sim.faults({ fault: 'close', device });
  if (fault === 'join') await another();
}

async function toUs({ sim, agent, peer }, fault) {
  const text = `to us with ${fault}`;
  const connected = agent.events.items.filter(({ event }) => event === 'account.connected').length;
  await arm(sim, fault, ACCOUNT);
  await peer.send(ACCOUNT, text);
  await help(sim, fault, ACCOUNT, () => peer.send(ACCOUNT, `${text}, next`));
  await agent.events.first(ARRIVES_MS, `message.received with "${text}"`, (event) =>
    event.event === 'message.received' && messageOf(event).text === text);
  if (['cut', 'corrupt', 'close', 'stream_end', 'drop', 'stream_error'].includes(fault))
    await until(ARRIVES_MS, `the link to come back after ${fault}`, () =>
      agent.events.items.filter(({ event }) => event === 'account.connected').length > connected);
}

async function fromUs({ sim, agent, peer, chat }, fault) {
  const text = `from us with ${fault}`;
  const mark = peer.events.items.length;
  await arm(sim, fault, ofSender.includes(fault) ? ACCOUNT : PEER);
  const sent = agent.call('send_message', { chat_id: chat, text }, ARRIVES_MS);
  if (fault === 'drop') await sent;
  await help(sim, fault, PEER);
  await peer.received(text, { ms: ARRIVES_MS });
  await sent;
  if (fault === 'close' || fault === 'drop') await peer.opened(mark);
}

async function everyFault(t, kind) {
  const sim = await t.sim();
  sim.recordTrace();
  const parleyd = await t.parleyd({ sim });
  const agent = await open(t, RestSubscriber, { url: parleyd.url, key: parleyd.testKey }, 'agent');
  await sim.addPhone(ACCOUNT, 'Parley');
  await pairAccount(agent, sim, ACCOUNT);
  const peer = await t.pairedPeer(sim, kind, PEER);
  await peer.send(ACCOUNT, 'to begin with');
  const first = await agent.event('message.received', { text: 'to begin with' });
  const chat = messageOf(first).chat_id;
  const scene = { sim, agent, peer, chat };
  for (const fault of inbound) await toUs(scene, fault);
  for (const fault of outbound) await fromUs(scene, fault);

  const texts = (await wholeChat(agent, chat)).map(({ text }) => text).sort();
  const next = inbound.includes('join') ? ['to us with join, next'] : [];
  const wanted = ['to begin with', ...next, ...inbound.map((fault) => `to us with ${fault}`), ...outbound.map((fault) => `from us with ${fault}`)];
  same(texts, wanted.sort(), 'the chat when it is over');
  await onlyExcused(sim, kind);
}

/** Under these faults whatsmeow itself at times writes two messages with one chain step (a counter it had not stored); its own device is
 * excused, and for nothing else. */
async function onlyExcused(sim, kind) {
  await sim.saveTrace();
  const { rules } = await sim.rules();
  const isExcused = ({ device, rule }) => kind === 'whatsmeow' && rule === 'MSG_STEP' && device.startsWith(`${PEER}:`);
  same(sim.breaches.filter((breach) => !isExcused(breach)), [], 'rules of the sim that were broken');
  same(sim.breaches.length, rules.reduce((sum, { broken }) => sum + broken, 0), 'breaches seen of those counted');
}

export const faultCases = peerKinds.map((kind) => ({
  name: `faults-${kind}`,
  about: `${inbound.length + outbound.length} faults between parleyd and ${kind}: every message is there once`,
  needs: ['sim', 'parleyd', ...(kind === 'whatsmeow' ? ['whatsmeow'] : [])],
  ms: 800_000,
  run: (t) => everyFault(t, kind),
}));
