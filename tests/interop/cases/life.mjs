// What happens to a real account over time, with real clients around it.
import { check, same } from '../lib/context.mjs';
import { peerKinds } from '../lib/peer.mjs';
import { RestSubscriber } from '../lib/subscribers.mjs';
import { accountStatus, codeIn, messageOf, pairAccount, wholeChat } from '../lib/tools.mjs';
import { pause, until } from '../lib/wait.mjs';
import { open } from './main.mjs';

const ACCOUNT = '15550007000';
const FRIEND = '15550007009';
const PEER = '15550007001';
const BACKLOG = 300;

async function scene(t, simOptions = {}) {
  const sim = await t.sim(simOptions);
  const parleyd = await t.parleyd({ sim });
  const agent = await open(t, RestSubscriber, { url: parleyd.url, key: parleyd.testKey }, 'agent');
  await sim.addPhone(ACCOUNT, 'Parley');
  await sim.addPhone(FRIEND, 'Friend');
  const account = await pairAccount(agent, sim, ACCOUNT);
  return { sim, parleyd, agent, account };
}

function heard(agent, text, ms = 30_000) {
  return agent.events.first(ms, `message.received with "${text}"`, (event) =>
    event.event === 'message.received' && messageOf(event).text === text);
}

/** Groups: each maker's sender keys, also when the key was withheld and has to be asked for. */
async function groups(t, addressing_mode) {
  const { sim, agent } = await scene(t);
  const peers = [];
  for (const [n, kind] of peerKinds.entries()) peers.push(await t.pairedPeer(sim, kind, `1555000710${n}`));
  const members = [FRIEND, ACCOUNT, ...peers.map(({ number }) => number)];
  const { id } = await sim.addGroup({ subject: 'Together', members, addressing_mode });
  const chats = new Set();
  for (const round of ['first', 'second', 'third']) {
    for (const from of peers) {
      const text = `${round} of ${from.name} to the group`;
      await from.sendGroup(id, text);
      const message = messageOf(await heard(agent, text));
      same([message.is_group, message.sender.phone, message.from_me], [true, `+${from.number}`, false], text);
      chats.add(message.chat_id);
    }
    await sim.phoneSendsGroup(FRIEND, id, `${round} of the phone to the group`);
    await heard(agent, `${round} of the phone to the group`);
  }
  same(chats.size, 1, 'chats of one group');

  // Somebody new has no key yet when the group is written to for the first time.
  const { id: other } = await sim.addGroup({ subject: 'Without keys', members, addressing_mode });
  for (const from of peers) {
    await sim.faults({ fault: 'withhold_sender_key', device: ACCOUNT });
    await from.sendGroup(other, `${from.name} without a key`);
    await heard(agent, `${from.name} without a key`);
  }
}

/** Written while the server was down: pulled in batches, whole and in order. */
async function backlog(t) {
  const { sim, parleyd, agent, account } = await scene(t);
  await sim.phoneSends(FRIEND, ACCOUNT, 'before');
  const chat = messageOf(await heard(agent, 'before')).chat_id;
  await parleyd.stop();
  const texts = [...Array(BACKLOG).keys()].map((n) => `waiting ${n}`);
  for (const text of texts) await sim.phoneSends(FRIEND, ACCOUNT, text);
  await parleyd.start();
  await accountStatus(agent, account, 'connected');
  await heard(agent, texts.at(-1), 60_000);
  const events = agent.events.items.filter(({ event }) => event === 'message.received').map((event) => messageOf(event).text);
  same(events, ['before', ...texts], 'the order of the events');
  same((await wholeChat(agent, chat)).map(({ text }) => text).reverse(), ['before', ...texts], 'the order in the chat');
  await until(20_000, 'nothing to wait at the server', async () => (await sim.devices(ACCOUNT)).every(({ queue }) => queue === 0));
}

/** A friend links another client: it hears us too, and the one that was removed does not keep us from writing. */
async function newCompanion(t) {
  const { sim, agent } = await scene(t);
  const first = await t.pairedPeer(sim, 'baileys', PEER, { name: 'first' });
  await first.send(ACCOUNT, 'from the first');
  const chat = messageOf(await heard(agent, 'from the first')).chat_id;
  await agent.call('send_message', { chat_id: chat, text: 'to the first' });
  await first.received('to the first');

  const second = t.peer(sim, 'whatsmeow', PEER, { name: 'second' });
  second.start();
  await second.pair();
  await agent.call('send_message', { chat_id: chat, text: 'to both' });
  await Promise.all([first.received('to both'), second.received('to both')]);

  first.logout();
  await until(10_000, 'the first to be gone', async () => (await sim.devices(PEER)).length === 2);
  await agent.call('send_message', { chat_id: chat, text: 'to the second' });
  await second.received('to the second');
  await second.send(ACCOUNT, 'from the second');
  same(messageOf(await heard(agent, 'from the second')).chat_id, chat, 'the chat of one person');
}

/** The owner removes us on the phone: everybody is told, calls say what to do, and pairing again keeps the chats. */
async function unlinked(t) {
  const { sim, agent, account } = await scene(t);
  await sim.phoneSends(FRIEND, ACCOUNT, 'before');
  const chat = messageOf(await heard(agent, 'before')).chat_id;
  await sim.faults({ fault: 'unlink', device: `${ACCOUNT}:1` });
  await agent.event('account.unpaired');
  await accountStatus(agent, account, 'logged_out');
  const refused = await agent.call('send_message', { chat_id: chat, text: 'nobody there' }).catch((error) => error);
  same(refused.code, 'account_not_paired', 'a call on an account that was removed');

  const again = await agent.call('pair_account', { account_id: account });
  same(again.account_id, account, 'the account that is paired again');
  await sim.scan(ACCOUNT, codeIn(again));
  await accountStatus(agent, account, 'connected');
  await sim.phoneSends(FRIEND, ACCOUNT, 'after');
  same(messageOf(await heard(agent, 'after')).chat_id, chat, 'the chat after pairing again');
  await agent.call('send_message', { chat_id: chat, text: 'here again' });
  await until(10_000, 'the friend to read it', async () => (await sim.inbox(FRIEND)).some(({ text }) => text === 'here again'));
}

/** Another client with our keys took over: no fight, until somebody asks for the link back. */
async function replaced(t) {
  const { sim, agent, account } = await scene(t);
  await sim.faults({ fault: 'stream_error', device: `${ACCOUNT}:1`, value: 409, text: 'replaced' });
  await agent.event('account.disconnected');
  await accountStatus(agent, account, 'disconnected');
  await pause(6000);
  const connects = agent.events.items.filter(({ event }) => event === 'account.connected').length;
  same(connects, 1, 'connects after the link was replaced');
  await agent.call('reconnect_account', { account_id: account });
  await accountStatus(agent, account, 'connected');
}

/** A service that refuses strangers without a privacy token lets us answer who wrote to us. */
async function tokens(t) {
  const { sim, agent } = await scene(t);
  for (const [n, kind] of peerKinds.entries()) {
    const peer = await t.pairedPeer(sim, kind, `1555000720${n}`);
    await sim.settings({ require_tokens: false });
    await peer.send(ACCOUNT, `${kind} wrote first`);
    const chat = messageOf(await heard(agent, `${kind} wrote first`)).chat_id;
    await sim.settings({ require_tokens: true });
    const sent = await agent.call('send_message', { chat_id: chat, text: `an answer for ${kind}` });
    check(sent.status !== 'failed', `the answer for ${kind} failed with ${sent.error}`);
    await peer.received(`an answer for ${kind}`);
  }
}

/** Two accounts of one server write to each other: our client is on both ends. */
async function bothOurs(t) {
  const { sim, agent, account } = await scene(t);
  await sim.addPhone(PEER, 'Other');
  const other = await pairAccount(agent, sim, PEER);
  const { id: there } = await agent.call('open_chat', { account_id: account, phone: `+${PEER}` });
  for (let n = 0; n < 5; n++) {
    const sent = await agent.call('send_message', { chat_id: there, text: `there ${n}` });
    const event = await heard(agent, `there ${n}`);
    same(event.account_id, other, 'the account that received');
    await agent.call('mark_chat_read', { chat_id: messageOf(event).chat_id });
    await agent.events.first(20_000, 'message.read at the sender', (read) =>
      read.event === 'message.read' && read.account_id === account && JSON.stringify(read.data).includes(sent.id));
    await agent.call('send_message', { chat_id: messageOf(event).chat_id, text: `back ${n}` });
    same((await heard(agent, `back ${n}`)).account_id, account, 'the account that received the answer');
  }
}

const difficult = [
  'ä ö ü ß 漢字 😀 👩‍👩‍👧‍👦 \u{1F1E6}\u{1F1F9}', 'line\nbreak, tab\t, "quotes", back\\slash, </script>', '\u202Eright to left\u202C, zero\u200Bwidth',
  'a\u0301 is not \u00E1', 'x'.repeat(60_000), '漢'.repeat(20_000), '*bold* _italic_ ~gone~ `code` @everyone', ' spaces around ', '0',
];

/** Texts that are hard on encodings and limits, both ways with each client, and quotes with a phone. */
async function texts(t) {
  const { sim, agent } = await scene(t);
  for (const [n, kind] of peerKinds.entries()) {
    const peer = await t.pairedPeer(sim, kind, `1555000730${n}`);
    await peer.send(ACCOUNT, `${kind} begins`);
    const chat = messageOf(await heard(agent, `${kind} begins`)).chat_id;
    for (const text of difficult) {
      const from = agent.events.items.length;
      await peer.send(ACCOUNT, text);
      await agent.events.first(20_000, `"${text.slice(0, 40)}" of ${kind}`, (event) =>
        event.event === 'message.received' && messageOf(event).text === text, from);
      await agent.call('send_message', { chat_id: chat, text });
      await peer.received(text);
    }
  }
  await sim.phoneSends(FRIEND, ACCOUNT, 'quote me');
  const asked = messageOf(await heard(agent, 'quote me'));
  await agent.call('send_message', { chat_id: asked.chat_id, text: 'quoted', reply_to: asked.id });
  const letter = await until(10_000, 'the friend to read it', async () => (await sim.inbox(FRIEND)).find(({ text }) => text === 'quoted'));
  same(letter.quoted, asked.whatsapp_id, 'what our answer quotes');
  await sim.reply(FRIEND, letter.id, 'quoted back');
  same(messageOf(await heard(agent, 'quoted back')).reply_to_whatsapp_id, letter.id, 'what their answer quotes');
}

const needs = ['sim', 'parleyd', 'whatsmeow'];

export const lifeCases = [
  ...['lid', 'pn'].map((mode) => ({
    name: `life-group-${mode}`,
    about: `a group with ${mode} addressing: what each client writes is read, also when its key has to be asked for`,
    needs,
    run: (t) => groups(t, mode),
  })),
  { name: 'life-backlog', about: `${BACKLOG} messages that waited at the service come whole and in order`, needs, run: backlog },
  { name: 'life-companions', about: 'a friend links a second client and removes the first', needs, run: newCompanion },
  { name: 'life-unlinked', about: 'removed on the phone, told to everybody, paired again with its chats', needs, run: unlinked },
  { name: 'life-replaced', about: 'no fight with whoever took the link over', needs, run: replaced },
  { name: 'life-both-ours', about: 'two accounts of one server write to each other', needs: ['sim', 'parleyd'], run: bothOurs },
  { name: 'life-texts', about: 'difficult texts both ways with each client, and quotes', needs, run: texts },
  { name: 'life-tokens', about: 'privacy tokens let us answer where strangers are refused', needs, run: tokens },
];
