// What the bridges in JavaScript share: settings, numbers, pairing through the sandbox, the SQLite file, the two routes.
import { createServer } from 'node:http';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

export const settings = JSON.parse(process.argv[2]);

/** As tools/load numbers them. */
export const number = (i) => `1555${1_000_000 + i}`;

export async function scan(i, qr) {
  const answer = await fetch(`http://${settings.control}/phones/${number(i)}/scan`, { method: 'POST', body: JSON.stringify({ qr }) });
  if (!answer.ok) console.error(`scan of ${number(i)}: ${answer.status} ${await answer.text()}`);
}

/** One file for all accounts; a statement outside a transaction is a commit. */
export function openDatabase(name) {
  mkdirSync(settings.state_dir, { recursive: true });
  const db = new DatabaseSync(join(settings.state_dir, name));
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${settings.keeps === 'full' ? 'FULL' : 'NORMAL'};
    CREATE TABLE IF NOT EXISTS record (account INTEGER, store TEXT, key TEXT, value, PRIMARY KEY (account, store, key)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS message (account INTEGER, chat TEXT, id TEXT, at INTEGER, text TEXT, raw BLOB,
      PRIMARY KEY (account, chat, id)) WITHOUT ROWID`);
  return db;
}

export function together(db, work) {
  db.exec('BEGIN IMMEDIATE');
  try {
    work();
    db.exec('COMMIT');
  } catch (error) {
    db.exec('ROLLBACK');
    throw error;
  }
}

const readers = new Set();

export function publish(i, chat, text) {
  const event = { event: 'message.received', data: { chat_id: `${i}/${chat}`, text } };
  const frame = `data: ${JSON.stringify(event)}\n\n`;
  for (const reader of readers) reader.write(frame);
}

/** `send(account, chat, text)` resolves when the server has acknowledged. */
export function serve(send) {
  const routes = {
    'GET /v1/events': (request, answer) => {
      answer.writeHead(200, { 'content-type': 'text/event-stream' });
      answer.flushHeaders();
      readers.add(answer);
      answer.on('close', () => readers.delete(answer));
    },
    'POST /v1/messages': async (request, answer) => {
      let body = '';
      for await (const piece of request) body += piece;
      const { chat_id, text } = JSON.parse(body);
      const cut = chat_id.indexOf('/');
      await send(Number(chat_id.slice(0, cut)), chat_id.slice(cut + 1), text);
      const result = '{"status":"sent"}';
      answer.writeHead(200, { 'content-type': 'application/json', 'content-length': result.length }).end(result);
    },
  };
  const server = createServer((request, answer) => {
    const route = routes[`${request.method} ${request.url.split('?')[0]}`];
    if (!route) return answer.writeHead(404, { 'content-length': 0 }).end();
    Promise.resolve(route(request, answer)).catch((error) => {
      const words = JSON.stringify({ error: String(error?.stack ?? error) });
      answer.writeHead(500, { 'content-length': Buffer.byteLength(words) }).end(words);
    });
  });
  const [host, port] = settings.listen.split(':');
  server.keepAliveTimeout = 0;
  server.listen(Number(port), host, () => process.stdout.write('ready\n'));
}

/** Starts all accounts from the first one on, a few at a time, as one thread does the work of all and has time limits for each;
 * `start(i)` resolves when account i is logged in. */
export async function startAll(start, atOnce = 4) {
  let next = settings.first ?? 0;
  const one = async () => {
    while (next < settings.accounts) await start(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}

for (const name of ['log', 'info', 'debug', 'dir', 'trace']) console[name] = () => {};
process.on('unhandledRejection', (error) => console.error('unhandled rejection', error));
process.on('SIGTERM', () => process.exit(0));
