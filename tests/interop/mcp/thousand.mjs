// A thousand agents that listen at once in the stateless era: every one is acknowledged, hears every event once and in
// order, and costs the server little memory.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { check, same } from '../lib/context.mjs';
import { StreamableSubscriber } from '../lib/subscribers.mjs';
import { pairAccount, wholeLog } from '../lib/tools.mjs';
import { until } from '../lib/wait.mjs';

const STREAMS = 1000;
const MESSAGES = 20;
const ACCOUNT = '15550003200';
const WRITER = '15550003201';
const URI = 'whatsapp://events/message.received';

/** Kilobytes of memory that the process holds. */
function residentKb(pid) {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
}

class Listener {
  messages = [];
  closed = false;

  open({ url, key, id }) {
    const _meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} };
    const params = { notifications: { resourceSubscriptions: [URI] }, _meta };
    const headers = {
      authorization: `Bearer ${key}`, accept: 'application/json, text/event-stream', 'content-type': 'application/json',
      'mcp-protocol-version': '2026-07-28', 'mcp-method': 'subscriptions/listen',
    };
    return new Promise((resolve, reject) => {
      const request = http.request(new URL('/mcp', url), { method: 'POST', headers, agent: false }, (answer) => {
        let rest = '';
        answer.setEncoding('utf8');
        answer.on('data', (piece) => {
          const frames = (rest + piece).split('\n\n');
          rest = frames.pop();
          for (const frame of frames) {
            const data = /^data: (.+)$/m.exec(frame)?.[1];
            if (data) this.messages.push(JSON.parse(data));
          }
          if (this.messages.length) resolve(this);
        });
        answer.on('close', () => (this.closed = true));
        answer.on('error', () => {});
      });
      request.on('error', reject);
      this.request = request;
      request.end(JSON.stringify({ jsonrpc: '2.0', id, method: 'subscriptions/listen', params }));
    });
  }

  get seqs() {
    return this.messages.slice(1).map(({ params }) => params._meta['parley/event'].seq);
  }
}

export async function thousand(t) {
  const sim = await t.sim();
  const parleyd = await t.parleyd({ sim, workers: 4 });
  const door = { url: parleyd.url, key: parleyd.testKey };
  const agent = await new StreamableSubscriber({ ...door, name: 'agent' }).connect();
  t.atEnd(() => agent.close());
  await sim.addPhone(ACCOUNT, 'Parley');
  await sim.addPhone(WRITER, 'Writer');
  await pairAccount(agent, sim, ACCOUNT);

  const before = residentKb(parleyd.child.pid);
  const listeners = Array.from({ length: STREAMS }, () => new Listener());
  t.atEnd(() => listeners.forEach(({ request }) => request?.destroy()));
  for (let from = 0; from < STREAMS; from += 50)
    await Promise.all(listeners.slice(from, from + 50).map((listener, i) => listener.open({ ...door, id: from + i })));
  const each = (residentKb(parleyd.child.pid) - before) / STREAMS;
  for (const [id, { messages }] of listeners.entries()) {
    same(messages[0].method, 'notifications/subscriptions/acknowledged', 'the first message of a stream');
    same(messages[0].params.notifications.resourceSubscriptions, [URI], 'what is honoured');
    same(messages[0].params._meta['io.modelcontextprotocol/subscriptionId'], id, 'the id of the subscription');
  }

  const start = (await wholeLog(agent)).at(-1).seq;
  for (let n = 1; n <= MESSAGES; n++) await sim.phoneSends(WRITER, ACCOUNT, `to a thousand ${n}`);
  const received = async () => (await wholeLog(agent, start)).filter(({ event }) => event === 'message.received').map(({ seq }) => seq);
  await until(20_000, 'the messages in the log', async () => (await received()).length === MESSAGES);
  const log = await received();
  await until(30_000, 'every stream to hear every message', async () => listeners.every(({ messages }) => messages.length > MESSAGES));
  for (const [id, listener] of listeners.entries()) {
    same(listener.seqs, log, `what stream ${id} heard`);
    check(!listener.closed, `stream ${id} was closed`);
  }
  console.log(`  ${STREAMS} streams heard ${MESSAGES} events each; ${each.toFixed(1)} KB of the server's memory a stream`);
  check(each < 32, `a stream costs ${each.toFixed(1)} KB`);
}
