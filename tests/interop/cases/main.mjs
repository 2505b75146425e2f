// The main job: pair, receive, store, notify, answer. Issue: a third-party client writes, two agents hear of it, one
// answers, the client reads the answer.
import { readFileSync } from 'node:fs';
import { check, same } from '../lib/context.mjs';
import { peerKinds } from '../lib/peer.mjs';
import { EventsReader, LegacySseSubscriber, ListenSubscriber, PythonSubscriber, RestSubscriber, StreamableSubscriber, EVENTS_URI } from '../lib/subscribers.mjs';
import { accountStatus, messageOf, pairAccount } from '../lib/tools.mjs';
import { until } from '../lib/wait.mjs';

const ACCOUNT = '15550002000';
const PEER = '15550002001';
const WANTED = ['message.received', 'message.sent', 'message.read'];

export async function open(t, kind, door, name) {
  const subscriber = new kind({ ...door, name, dir: t.dir });
  t.atEnd(() => subscriber.close());
  return subscriber.connect();
}

async function mainJob(t, kind, simOptions = {}) {
  const sim = await t.sim(simOptions);
  const parleyd = await t.parleyd({ sim });
  const door = { url: parleyd.url, key: parleyd.testKey };
  const agent = await open(t, StreamableSubscriber, door, 'agent');
  const watcher = await open(t, LegacySseSubscriber, door, 'watcher');
  await agent.call('subscribe_events', { events: WANTED });
  await watcher.subscribeResource(EVENTS_URI);

  await sim.addPhone(ACCOUNT, 'Parley');
  await pairAccount(agent, sim, ACCOUNT);
  const peer = await t.pairedPeer(sim, kind, PEER);
  await exchange({ agent, watchers: [watcher], peer }, 'first');
  // Sessions that exist now carry the second round, which no prekey opens.
  await exchange({ agent, watchers: [watcher], peer }, 'second');
  const undecryptable = peer.events.items.filter(({ event }) => event === 'undecryptable');
  same(undecryptable, [], `${kind} could not decrypt`);
}

/** The same without MCP: what a script does over REST and `/v1/events`. */
async function restJob(t, kind) {
  const sim = await t.sim();
  const parleyd = await t.parleyd({ sim });
  const door = { url: parleyd.url, key: parleyd.testKey };
  const agent = await open(t, RestSubscriber, door, 'script');
  const watcher = await open(t, EventsReader, door, 'watcher');
  await sim.addPhone(ACCOUNT, 'Parley');
  await pairAccount(agent, sim, ACCOUNT);
  const peer = await t.pairedPeer(sim, kind, PEER);
  await exchange({ agent, watchers: [watcher], peer }, 'first');
  await exchange({ agent, watchers: [watcher], peer }, 'second');
  same(peer.events.items.filter(({ event }) => event === 'undecryptable'), [], `${kind} could not decrypt`);
}

/** One message in, heard by all, one answer out, read receipts in both directions. */
async function exchange({ agent, watchers, peer }, round) {
  const question = `${round} question of ${peer.kind} ${crypto.randomUUID().slice(0, 8)}`;
  const asked = await peer.send(ACCOUNT, question);
  const heard = [];
  for (const listener of [agent, ...watchers]) heard.push(await heardText(listener, question));
  same(new Set(heard.map((event) => event.event_id)).size, 1, 'one event under one id for everybody');
  const chat = messageOf(heard[0]).chat_id;
  check(chat?.startsWith('chat_'), `the event names no chat: ${JSON.stringify(heard[0])}`);
  await receipted(peer, asked, ['delivery', 'inactive']);

  const answer = `${round} answer to ${peer.kind} ${crypto.randomUUID().slice(0, 8)}`;
  const sent = await agent.call('send_message', { chat_id: chat, text: answer, idempotency_key: answer });
  const read = await peer.received(answer);
  same(read.from, ACCOUNT, 'the sender of the answer');
  peer.read(ACCOUNT, [read.id]);
  await isRead(agent, sent.id);

  await agent.call('mark_chat_read', { chat_id: chat });
  await receipted(peer, asked, ['read']);
}

function heardText(listener, text) {
  return listener.events.first(20_000, `${listener.name}: message.received with "${text}"`, (event) =>
    event.event === 'message.received' && messageOf(event).text === text);
}

function isRead(listener, id) {
  check(id?.startsWith('msg_'), `send_message names no message but ${id}`);
  return listener.events.first(20_000, `${listener.name}: message.read of ${id}`, (event) =>
    event.event === 'message.read' && JSON.stringify(event.data).includes(id));
}

function receipted(peer, id, types) {
  return peer.events.first(20_000, `${peer.name}: receipt ${types.join(' or ')} of ${id}`, (event) =>
    event.event === 'receipt' && event.id === id && types.includes(event.type));
}

/** Every kind of subscriber beside each other hears the same events, and each can call tools. */
async function everySubscriber(t) {
  const sim = await t.sim();
  const parleyd = await t.parleyd({ sim });
  const door = { url: parleyd.url, key: parleyd.testKey };
  const agent = await open(t, StreamableSubscriber, door, 'agent');
  const sse = await open(t, LegacySseSubscriber, door, 'sse');
  const python = await open(t, PythonSubscriber, door, 'python');
  const modern = await open(t, ListenSubscriber, door, 'modern');
  const script = await open(t, EventsReader, door, 'script');
  await agent.call('subscribe_events', { events: WANTED });
  await sse.call('subscribe_events', { events: WANTED });
  await python.call('subscribe_events', { events: WANTED });
  const honoured = await modern.listen();
  same(honoured.resourceSubscriptions, [EVENTS_URI], 'the honoured filter');

  await sim.addPhone(ACCOUNT, 'Parley');
  const account = await pairAccount(modern, sim, ACCOUNT);
  const names = (await agent.listTools()).tools.map(({ name }) => name);
  same((await modern.listTools()).tools.map(({ name }) => name), names, 'the tools of both eras');
  for (const caller of [agent, sse, python, modern])
    same((await caller.call('get_account', { account_id: account })).phone, `+${ACCOUNT}`, `${caller.name}: get_account`);

  const peer = await t.pairedPeer(sim, 'baileys', PEER);
  await exchange({ agent, watchers: [sse, python, modern, script], peer }, 'only');
  same(script.seqs, [...script.seqs].sort((a, b) => a - b), 'the order at /v1/events');
}

/** A phone's own message is stored as ours, and a living account comes back when its sim does. */
async function accountLife(t) {
  const sim = await t.sim({ state: `${t.dir}/sim-state` });
  const parleyd = await t.parleyd({ sim });
  const agent = await open(t, StreamableSubscriber, { url: parleyd.url, key: parleyd.testKey }, 'agent');
  await agent.call('subscribe_events', { events: ['message.received', 'message.sent', 'account.*'] });
  await sim.addPhone(ACCOUNT, 'Parley');
  await sim.addPhone(PEER, 'Friend');
  const account = await pairAccount(agent, sim, ACCOUNT);

  await sim.phoneSends(ACCOUNT, PEER, 'written on the phone');
  const own = await agent.events.first(20_000, 'message.sent for what the phone wrote', (event) =>
    event.event === 'message.sent' && messageOf(event).text === 'written on the phone');
  same(messageOf(own).from_me, true, 'from_me of what the owner wrote');

  await sim.kill();
  await agent.event('account.disconnected');
  await sim.start();
  await accountStatus(agent, account, 'connected', 60_000);
  await sim.phoneSends(PEER, ACCOUNT, 'after the restart');
  await heardText(agent, 'after the restart');

  // Two keys, two worlds.
  const live = await open(t, StreamableSubscriber, { url: parleyd.url, key: parleyd.liveKey }, 'live');
  same((await live.call('list_accounts', {})).accounts, [], 'accounts that a live key sees');
  await agent.call('logout_account', { account_id: account });
  await accountStatus(agent, account, 'logged_out');
}

/** A live key pairs at --wa-url, here over TLS, a test key at the sandbox; neither sees anything of the other. */
async function twoWorlds(t) {
  const { ca, good } = t.certificates();
  const sandbox = await t.sim();
  const whatsapp = await t.sim({ tls: good, logName: 'whatsapp' });
  const extra = ['--wa-url', whatsapp.url, '--wa-root-key', whatsapp.rootKey, '--wa-ca', ca, '--log-format', 'json'];
  const parleyd = await t.parleyd({ sim: sandbox, extra });
  const worlds = [];
  for (const [name, sim, key, number] of [['live', whatsapp, parleyd.liveKey, ACCOUNT], ['test', sandbox, parleyd.testKey, '15550002100']]) {
    const script = await open(t, RestSubscriber, { url: parleyd.url, key }, name);
    await sim.addPhone(number, name);
    await sim.addPhone(PEER, 'Friend');
    worlds.push({ name, sim, number, script, account: await pairAccount(script, sim, number) });
  }
  for (const { name, sim, number, script } of worlds) {
    await sim.phoneSends(PEER, number, `for ${name}`);
    const { chat_id } = messageOf(await heardText(script, `for ${name}`));
    await script.call('send_message', { chat_id, text: `from ${name}` });
    await until(10_000, `"from ${name}" to arrive`, async () => (await sim.inbox(PEER)).some(({ text }) => text === `from ${name}`));
  }
  for (const [mine, other] of [worlds, worlds.toReversed()]) {
    const { accounts } = await mine.script.call('list_accounts', {});
    same(accounts.map(({ phone }) => phone), [`+${mine.number}`], `accounts that the ${mine.name} key sees`);
    const strange = mine.script.events.items.filter(({ account_id }) => account_id !== mine.account);
    same(strange, [], `events of the other world that the ${mine.name} key sees`);
    for (const tool of ['get_account', 'get_account_status', 'logout_account', 'reconnect_account']) {
      const error = await mine.script.call(tool, { account_id: other.account }).catch((error) => error);
      same(error.code, 'not_found', `${tool} of the ${other.name} account with the ${mine.name} key`);
    }
  }
  await parleyd.stop();
  const lines = readFileSync(parleyd.child.log, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  check(lines.length > 0 && lines.every(({ level }) => level), 'lines of the log without their level');
}

export const mainCases = [
  ...peerKinds.map((kind) => ({
    name: `rest-job-${kind}`,
    about: `${kind} writes, a script hears it at /v1/events and answers over REST, ${kind} reads it`,
    needs: ['sim', 'parleyd', ...(kind === 'whatsmeow' ? ['whatsmeow'] : [])],
    run: (t) => restJob(t, kind),
  })),
  ...peerKinds.map((kind) => ({
    name: `main-job-${kind}`,
    about: `${kind} writes, two MCP subscribers hear it, one answers, ${kind} reads it (ws)`,
    needs: ['sim', 'parleyd', ...(kind === 'whatsmeow' ? ['whatsmeow'] : [])],
    run: (t) => mainJob(t, kind),
  })),
  ...peerKinds.map((kind) => ({
    name: kind === 'baileys' ? 'main-job-wss' : `main-job-wss-${kind}`,
    about: `the same with ${kind} over TLS with a test CA`,
    needs: ['sim', 'parleyd', ...(kind === 'whatsmeow' ? ['whatsmeow'] : [])],
    run: (t) => mainJob(t, kind, { tls: t.certificates().good }),
  })),
  {
    name: 'main-subscribers',
    about: 'TypeScript SDK v1 and v2, legacy SSE, Python and /v1/events hear the same events',
    needs: ['sim', 'parleyd', 'python'],
    run: everySubscriber,
  },
  {
    name: 'main-account-life',
    about: 'the owner writes on the phone, the service restarts, the two worlds stay apart, the account logs out',
    needs: ['sim', 'parleyd'],
    run: accountLife,
  },
  {
    name: 'main-two-worlds',
    about: 'a live key over wss at --wa-url, a test key at the sandbox: each sees its own alone; the log is JSON',
    needs: ['sim', 'parleyd'],
    run: twoWorlds,
  },
];
