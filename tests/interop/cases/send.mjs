// What send_message promises: order, one effect per key, honest answers when the server is slow or refuses.
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { check, same } from '../lib/context.mjs';
import { RestSubscriber, StreamableSubscriber } from '../lib/subscribers.mjs';
import { messageOf, pairAccount } from '../lib/tools.mjs';
import { Feed, pause, until } from '../lib/wait.mjs';
import { open } from './main.mjs';

const ACCOUNT = '15550005000';
const FRIEND = '15550005001';

/** A sim with two phones, parleyd with one of them paired, an agent, and the chat with the other. */
async function scene(t) {
  const sim = await t.sim();
  const parleyd = await t.parleyd({ sim });
  const door = { url: parleyd.url, key: parleyd.testKey };
  const agent = await open(t, StreamableSubscriber, door, 'agent');
  await agent.call('subscribe_events', { events: ['message.*'] });
  await sim.addPhone(ACCOUNT, 'Parley');
  await sim.addPhone(FRIEND, 'Friend');
  const account = await pairAccount(agent, sim, ACCOUNT);
  const { id: chat } = await agent.call('open_chat', { account_id: account, phone: `+${FRIEND}` });
  return { sim, parleyd, door, agent, account, chat };
}

/** The texts that the friend's phone read, in the order in which they came. */
async function textsOf(sim) {
  return (await sim.inbox(FRIEND)).map(({ text }) => text);
}

function arrived(sim, texts) {
  return until(30_000, `${texts.length} texts to arrive`, async () => {
    const have = await textsOf(sim);
    return texts.every((text) => have.includes(text)) && have;
  });
}

/**
 * A session of 2024-11-05 that posts calls without waiting for their answers: a POST is answered with 202 as soon as the
 * call is taken, so calls that are under way together still have an order.
 */
class Caller {
  answers = new Feed();
  #next = 1;

  async connect({ url, key }) {
    const headers = { authorization: `Bearer ${key}` };
    const withKey = (target, init) => fetch(target, { ...init, headers: { ...Object.fromEntries(new Headers(init?.headers)), ...headers } });
    this.transport = new SSEClientTransport(new URL('/sse', url), { requestInit: { headers }, eventSourceInit: { fetch: withKey } });
    this.transport.onmessage = (message) => message.id !== undefined && this.answers.push(message);
    await this.transport.start();
    const id = await this.post('initialize', { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'order', version: '1' } });
    await this.answer(id);
    await this.transport.send({ jsonrpc: '2.0', method: 'notifications/initialized' });
    return this;
  }

  async post(method, params) {
    const id = this.#next++;
    await this.transport.send({ jsonrpc: '2.0', id, method, params });
    return id;
  }

  answer(id) {
    return this.answers.first(40_000, `the answer to request ${id}`, (message) => message.id === id);
  }
}

async function inOrder(t) {
  const { sim, door, chat } = await scene(t);
  const caller = await new Caller().connect(door);
  t.atEnd(() => caller.transport.close());
  const texts = [...Array(30).keys()].map((n) => `in order ${n}`);
  const ids = [];
  for (const text of texts) ids.push(await caller.post('tools/call', { name: 'send_message', arguments: { chat_id: chat, text } }));
  for (const id of ids) check(!(await caller.answer(id)).result?.isError, `call ${id} failed`);
  same(await arrived(sim, texts), texts, 'the order of arrival');
}

/** The same call at once over every door and several connections, and again after a kill, over another door. */
async function oneEffect(t) {
  const { sim, parleyd, door, agent, chat } = await scene(t);
  const other = await open(t, StreamableSubscriber, door, 'other');
  const script = await open(t, RestSubscriber, door, 'script');
  const caller = await new Caller().connect(door);
  t.atEnd(() => caller.transport.close());
  const args = { chat_id: chat, text: 'only once', idempotency_key: 'only-once' };
  const posted = await caller.post('tools/call', { name: 'send_message', arguments: args });
  const answers = await Promise.all([agent.call('send_message', args), agent.call('send_message', args), other.call('send_message', args),
    script.call('send_message', args)]);
  answers.push((await caller.answer(posted)).result.structuredContent ?? JSON.parse((await caller.answer(posted)).result.content[0].text));
  same(new Set(answers.map(({ id }) => id)).size, 1, 'messages of one key');

  const lost = { chat_id: chat, text: 'through a kill', idempotency_key: 'through-a-kill' };
  agent.call('send_message', lost, 5000).catch(() => {});
  await pause(5);
  await parleyd.kill();
  await parleyd.start();
  const again = await until(30_000, 'the repeated call to be answered', () => agent.call('send_message', lost, 8000), 200);
  same((await script.call('send_message', lost)).id, again.id, 'the message of the key over REST');
  await arrived(sim, ['only once', 'through a kill']);
  const count = (await textsOf(sim)).filter((text) => text === 'only once' || text === 'through a kill').length;
  same(count, 2, 'texts that arrived');
  const error = await agent.call('send_message', { ...args, text: 'something else' }).catch((error) => error);
  same(error.code, 'invalid_request', 'another call under a used key');
}

async function refusals(t) {
  const { sim, agent, chat } = await scene(t);
  for (const value of [463, 475, 479, 421]) {
    await sim.faults({ fault: 'ack_error', device: ACCOUNT, value, count: 1 });
    const text = `refused with ${value}`;
    const error = await agent.call('send_message', { chat_id: chat, text }).catch((error) => error);
    check(error instanceof Error, `a send refused with ${value} was answered ${JSON.stringify(error)}`);
  }
  const { messages } = await agent.call('list_messages', { chat_id: chat });
  same(messages.map(({ status }) => status), Array(4).fill('failed'), 'the state of refused messages');
  await pause(500);
  same(agent.events.items.filter(({ event }) => event === 'message.sent'), [], 'message.sent for refused messages');
}

/** The ack never comes, then the link breaks: the same bytes go again and arrive once. */
async function lostAck(t) {
  const { sim, agent, chat } = await scene(t);
  await sim.faults({ fault: 'drop_ack', device: ACCOUNT, count: 1 });
  const call = agent.call('send_message', { chat_id: chat, text: 'no ack' }, 40_000);
  await arrived(sim, ['no ack']);
  const answer = await call;
  same(answer.status, 'pending', 'the answer without an ack');
  await sim.faults({ fault: 'close', device: ACCOUNT });
  const sent = await agent.events.first(60_000, 'message.sent after the link came back', (event) =>
    event.event === 'message.sent' && messageOf(event).id === answer.id);
  same(messageOf(sent).status, 'sent', 'the state after the ack');
  same((await textsOf(sim)).filter((text) => text === 'no ack').length, 1, 'how often it arrived');
}

const needs = ['sim', 'parleyd'];

export const sendCases = [
  { name: 'send-order', about: '30 sends under way together arrive in the order of the calls', needs, run: inOrder },
  { name: 'send-once', about: 'one idempotency key is one message, over MCP, SSE and REST and through a kill', needs, run: oneEffect },
  { name: 'send-refused', about: 'an ack with 463, 475, 479 or 421 is a failed call and a failed message', needs, run: refusals },
  { name: 'send-no-ack', about: 'without an ack the answer is pending, and the same bytes go again', needs, run: lostAck },
];
