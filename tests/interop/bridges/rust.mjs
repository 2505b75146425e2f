// Many accounts of an unmodified whatsapp-rust (its WebAssembly build for Node) in one process; see README.md.
import { readFileSync } from 'node:fs';
import WebSocket from 'ws';
import { createWhatsAppClient, decodeMessageWireBatch, decodeProto, encodeProto, initWasmEngine } from 'whatsapp-rust-client';
import { openDatabase, publish, scan, serve, settings, startAll, together } from './bridge.mjs';

initWasmEngine({ level: 'error', ...Object.fromEntries(['trace', 'debug', 'info', 'warn', 'error'].map((name) => [name, () => {}])) });

const ca = settings.ca_file ? readFileSync(settings.ca_file) : undefined;
const db = openDatabase('whatsapp-rust.db');
const one = db.prepare('SELECT value FROM record WHERE account = ? AND store = ? AND key = ?');
const put = db.prepare('INSERT OR REPLACE INTO record (account, store, key, value) VALUES (?, ?, ?, ?)');
const drop = db.prepare('DELETE FROM record WHERE account = ? AND store = ? AND key = ?');
const some = db.prepare('SELECT key, value FROM record WHERE account = ? AND store = ? AND substr(key, 1, length(?)) = ?');
const dropSome = db.prepare('DELETE FROM record WHERE account = ? AND store = ? AND substr(key, 1, length(?)) = ?');
const keep = db.prepare('INSERT OR IGNORE INTO message (account, chat, id, at, text, raw) VALUES (?, ?, ?, ?, ?, ?)');

/** The store callbacks over the table. */
function storeOf(account) {
  const get = (store, key) => one.get(account, store, key)?.value ?? null;
  const entries = (store, prefix = '') => some.all(account, store, prefix, prefix).map(({ key, value }) => [key, value]);
  return {
    get: async (store, key) => get(store, key),
    set: async (store, key, value) => void put.run(account, store, key, value),
    delete: async (store, key) => void drop.run(account, store, key),
    setMany: async (store, pairs) => together(db, () => pairs.forEach(([key, value]) => put.run(account, store, key, value))),
    getMany: async (store, keys) => keys.map((key) => [key, get(store, key)]).filter(([, value]) => value !== null),
    deleteMany: async (store, keys) => together(db, () => keys.forEach((key) => drop.run(account, store, key))),
    listKeys: async (store, prefix) => entries(store, prefix).map(([key]) => key),
    listEntries: async (store, prefix) => entries(store, prefix),
    deletePrefix: async (store, prefix) => Number(dropSome.run(account, store, prefix, prefix).changes),
    flush: async () => {},
    capabilities: { batch: true, enumerate: true, prefixDelete: true },
  };
}

function transport() {
  let link;
  return {
    connect(handle) {
      link = new WebSocket(settings.url, { ca, origin: 'https://web.whatsapp.com', perMessageDeflate: false });
      link.on('message', (data) => handle.onData(new Uint8Array(data)));
      link.on('close', () => handle.onDisconnected());
      return new Promise((resolve, reject) => {
        link.on('open', () => {
          handle.onConnected();
          resolve();
        });
        link.on('error', reject);
      });
    },
    send: (data) => link.send(data),
    disconnect: () => link?.close(),
  };
}

/** Fetched from nowhere: nothing leaves the machine. */
const VERSION = [2, 3000, 1043857760];
const offline = { execute: async () => ({ statusCode: 503, body: new Uint8Array() }) };
const clients = [];
const unacked = new Map();

function onMessages(account, batch) {
  const { messageData, messageOffsets, infos } = decodeMessageWireBatch(batch);
  infos.forEach((info, n) => {
    const raw = messageData.slice(messageOffsets[n], messageOffsets[n + 1]);
    const message = decodeProto('Message', raw);
    const text = message.conversation || message.extendedTextMessage?.text;
    if (!text || info.isFromMe) return;
    keep.run(account, info.chat, info.id, Math.floor(Date.now() / 1000), text, raw);
    publish(account, info.chat, text);
  });
}

async function start(account) {
  let opened;
  const open = new Promise((resolve) => (opened = resolve));
  const handlers = {
    qr: ({ code }) => scan(account, code),
    connected: () => opened(),
    server_ack: ({ id, error }) => {
      unacked.get(id)?.(error);
      unacked.delete(id);
    },
  };
  const events = {
    onEvent: ({ type, data }) => handlers[type]?.(data ?? {}),
    onMessageBatch: async (batch) => onMessages(account, batch),
    onHistorySyncBatch: () => 0,
  };
  const client = await createWhatsAppClient(transport(), offline, events, storeOf(account), null, VERSION, settings.prekeys);
  clients[account] = client;
  await client.setInitialPushName('whatsapp-rust');
  client.run();
  await open;
}

let sent = 0;
serve(async (account, chat, text) => {
  const id = `3EB0${(++sent).toString(16).padStart(18, '0').toUpperCase()}`;
  const acked = new Promise((resolve, reject) =>
    unacked.set(id, (error) => (error ? reject(new Error(`refused with ${error}`)) : resolve())));
  await clients[account].relayMessageBytes(chat, encodeProto('Message', { conversation: text }), id);
  await acked;
});
await startAll(start);
