// parleyd as hosts run it: behind a real reverse proxy with TLS, set up by the very files of deploy/.
import { check, same } from '../lib/context.mjs';
import { PUBLIC_NAME } from '../lib/proxy.mjs';
import { EVENTS_URI, EventsReader, LegacySseSubscriber, ListenSubscriber, StreamableSubscriber } from '../lib/subscribers.mjs';
import { messageOf, pairAccount } from '../lib/tools.mjs';
import { until } from '../lib/wait.mjs';
import { open } from './main.mjs';

const ACCOUNT = '15550008000';
const FRIEND = '15550008001';
const HTML = { headers: { accept: 'text/html' } };

async function behind(t, kind) {
  const sim = await t.sim();
  const parleyd = await t.parleyd({ sim, extra: ['--public-url', `https://${PUBLIC_NAME}`] });
  const proxy = await t.proxy(kind, parleyd);
  // The same file, but silence is suffered for less than it lasts: only comments on the stream keep that open.
  const hasty = kind === 'caddy' ? proxy : await t.proxy(kind, parleyd, { silence: '20s', label: `${kind}-hasty` });
  const silent = hasty.stream('/v1/events?events=account.unpaired', { authorization: `Bearer ${parleyd.testKey}` });
  t.atEnd(() => silent.close());
  await silent.frames.first(10_000, 'the silent stream to open', ({ status }) => status === 200);

  const door = { url: proxy.url, key: parleyd.testKey, fetch: proxy.fetch };
  const agent = await open(t, StreamableSubscriber, door, 'agent');
  const legacy = await open(t, LegacySseSubscriber, door, 'legacy');
  const modern = await open(t, ListenSubscriber, door, 'modern');
  const script = await open(t, EventsReader, door, 'script');
  await agent.call('subscribe_events', { events: ['*'] });
  await legacy.subscribeResource(EVENTS_URI);
  await modern.listen();

  await sim.addPhone(ACCOUNT, 'Parley');
  await sim.addPhone(FRIEND, 'Friend');
  const account = await pairAccount(agent, sim, ACCOUNT);
  await eachAtOnce(sim, [agent, legacy, modern, script]);
  await resumes(t, sim, parleyd, proxy);
  await answersPosts(t, parleyd, door);
  await localPages(parleyd, proxy, agent);
  await names(proxy);
  await bodies(proxy, door.key);

  await until(60_000, 'two comments on the silent stream', async () => silent.comments >= 2 || silent.closed);
  check(!silent.closed, 'the silent stream was cut');
  await agent.call('delete_account', { account_id: account });
  await silent.frames.first(10_000, 'the event at the end of the silence', ({ event }) => event === 'account.unpaired');
}

/** The next message is written only when everybody has heard the one before: nobody holds one back for company. */
async function eachAtOnce(sim, subscribers) {
  for (const text of ['one', 'two', 'three']) {
    await sim.phoneSends(FRIEND, ACCOUNT, text);
    for (const { events, name } of subscribers)
      await events.first(15_000, `${name} to hear "${text}"`, (event) => messageOf(event).text === text);
  }
}

async function openStreams(parleyd) {
  return Number(/^parley_http_streams (\d+)$/m.exec(await (await fetch(`${parleyd.url}/metrics`)).text())[1]);
}

/** Over HTTP/2: a reader leaves, which the server notices, and comes back for exactly what it missed. */
async function resumes(t, sim, parleyd, proxy) {
  const others = await openStreams(parleyd);
  const headers = { authorization: `Bearer ${parleyd.testKey}` };
  const first = proxy.stream('/v1/events', headers);
  t.atEnd(() => first.close());
  await until(10_000, 'one more stream', async () => (await openStreams(parleyd)) === others + 1);
  await sim.phoneSends(FRIEND, ACCOUNT, 'seen');
  const { id } = await first.frames.first(10_000, 'an event over HTTP/2', ({ data }) => data?.data.text === 'seen');
  first.close();
  await until(10_000, 'the end of that stream upstream', async () => (await openStreams(parleyd)) === others);

  for (const text of ['missed one', 'missed two']) await sim.phoneSends(FRIEND, ACCOUNT, text);
  const second = proxy.stream('/v1/events', { ...headers, 'last-event-id': id });
  t.atEnd(() => second.close());
  await second.frames.first(10_000, 'what was missed', ({ data }) => data?.data.text === 'missed two');
  const frames = second.frames.items.filter(({ data }) => data);
  same(frames.map(({ data }) => data.data.text), ['missed one', 'missed two'], 'what the second stream showed');
  same(Number(frames[0].id), Number(id) + 1, 'where it went on');
  second.close();
  await until(10_000, 'the end of the second stream upstream', async () => (await openStreams(parleyd)) === others);
}

/** Streams that answer a POST last: Caddy cut off one in ten, silently, when the answer was quicker than its reading. */
async function answersPosts(t, parleyd, door) {
  const others = await openStreams(parleyd), listeners = [];
  for (let i = 1; i <= 40; i++) {
    const listener = await open(t, ListenSubscriber, door, `listener-${i}`);
    await listener.listen();
    same(await openStreams(parleyd), others + i, `streams with ${i} listeners`);
    listeners.push(listener);
  }
  // HAProxy does not tell of their end at once.
  for (const listener of listeners) await listener.close();
}

/** What parleyd shows to its own machine alone does not pass; the link of a pairing does. */
async function localPages(parleyd, proxy, agent) {
  const { account_id, url } = await agent.call('pair_account', {});
  check(url.startsWith(`https://${PUBLIC_NAME}/qr/`), `the link of pair_account: ${url}`);
  const page = await proxy.fetch(proxy.url + new URL(url).pathname, HTML);
  same(page.status, 200, 'the page of the pairing');
  check((await page.text()).includes('<svg'), 'the page of the pairing shows no code');
  for (const path of ['/qr', '/metrics', '/metrics/accounts']) same((await proxy.fetch(proxy.url + path, HTML)).status, 404, path);

  const shown = await (await proxy.fetch(`${proxy.url}/`, HTML)).text();
  check(shown.includes('1 connected') && !shown.includes(ACCOUNT), `numbers on / through the proxy: ${shown}`);
  // Nor what runs as the server's own user, which the proxy might do as well.
  check(!(await (await fetch(`${parleyd.url}/`, HTML)).text()).includes(ACCOUNT), 'the number on / for the user of the server');
  same((await fetch(`${parleyd.url}/qr`, HTML)).status, 403, '/qr for the user of the server');
  await agent.call('delete_account', { account_id });
}

/** Only the configured name is served. Caddy answers others itself, with nothing in it. */
async function names(proxy) {
  same(await proxy.statusFor('/v1/accounts', PUBLIC_NAME), 401, 'the right name without a key');
  const others = proxy.kind === 'caddy' ? [200, 200] : [403, 404];
  same([await proxy.statusFor('/v1/accounts', 'elsewhere.example'), await proxy.statusFor('/qr', '127.0.0.1')], others, 'other names');
}

/** What parleyd takes passes (2 MB, too long a text), what it does not take is refused by whoever comes first. */
async function bodies(proxy, key) {
  const post = (body, more) => proxy.fetch(`${proxy.url}/v1/messages`, {
    method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, body, ...more,
  });
  const call = (bytes) => JSON.stringify({ to: '+15550008001', text: 'x'.repeat(bytes) });
  const large = await post(call(2 << 20));
  same([large.status, (await large.json()).code], [400, 'invalid_request'], 'two megabytes');
  // nginx and HAProxy may hang up on the rest of the body, which the sender may see as a broken connection. Caddy has to
  // pass on what parleyd says: when it also counted bytes itself, in a race with that answer, one in twenty was a 502.
  const refused = (answer) => answer.then(({ status }) => status, (e) => (proxy.kind === 'caddy' ? `${e.cause ?? e}` : 413));
  const tooLarge = call(6 << 20);
  for (let i = 0; i < 40; i++) same(await refused(post(tooLarge)), 413, `six megabytes, ${i + 1}`);
  const pieces = () => new Blob([tooLarge]).stream();
  same(await refused(post(pieces(), { duplex: 'half' })), 413, 'six megabytes without a length');
}

export const proxyCases = Object.entries({ nginx: 'nginx', haproxy: 'HAProxy', caddy: 'Caddy' }).map(([kind, name]) => ({
  name: `proxy-${kind}`,
  about: `behind ${name} with the file of deploy/: streams, resumption, silence, names, local pages`,
  needs: ['sim', 'parleyd', kind],
  run: (t) => behind(t, kind),
}));
