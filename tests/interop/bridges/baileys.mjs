// Many accounts of an unmodified Baileys in one process; see README.md.
import { readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import {
  BufferJSON, DisconnectReason, WA_CERT_DETAILS, initAuthCreds, makeCacheableSignalKeyStore, makeWASocket, proto,
} from 'baileys';
import pino from 'pino';
import { openDatabase, publish, scan, serve, settings, startAll, together } from './bridge.mjs';

const logger = pino({ level: 'fatal' }, pino.destination(2));
const agent = settings.ca_file ? new Agent({ ca: readFileSync(settings.ca_file) }) : undefined;
WA_CERT_DETAILS.PUBLIC_KEY = Buffer.from(settings.root_key, 'hex');

const db = openDatabase('baileys.db');
const one = db.prepare('SELECT value FROM record WHERE account = ? AND store = ? AND key = ?');
const put = db.prepare('INSERT OR REPLACE INTO record (account, store, key, value) VALUES (?, ?, ?, ?)');
const drop = db.prepare('DELETE FROM record WHERE account = ? AND store = ? AND key = ?');
const keep = db.prepare('INSERT OR IGNORE INTO message (account, chat, id, at, text, raw) VALUES (?, ?, ?, ?, ?, ?)');

const packed = (value) => JSON.stringify(value, BufferJSON.replacer);
const unpacked = (text) => JSON.parse(text, BufferJSON.reviver);

/** Baileys' own two kinds of state over the table, as its documentation advises to write them. */
function stateOf(account) {
  const found = one.get(account, 'creds', '');
  const creds = found ? unpacked(found.value) : initAuthCreds();
  const keys = {
    get: async (type, ids) => {
      const data = {};
      for (const id of ids) {
        const row = one.get(account, type, id);
        let value = row && unpacked(row.value);
        if (type === 'app-state-sync-key' && value) value = proto.Message.AppStateSyncKeyData.fromObject(value);
        data[id] = value;
      }
      return data;
    },
    set: async (data) =>
      together(db, () => {
        for (const type in data)
          for (const id in data[type]) {
            const value = data[type][id];
            if (value) put.run(account, type, id, packed(value));
            else drop.run(account, type, id);
          }
      }),
  };
  return { creds, keys: makeCacheableSignalKeyStore(keys, logger), save: () => put.run(account, 'creds', '', packed(creds)) };
}

const sockets = [];
/** Sends that wait for the server's ack, by message id. */
const unacked = new Map();

function start(account) {
  const auth = stateOf(account);
  return new Promise((opened) => connect(account, auth, opened));
}

function connect(account, auth, opened) {
  const socket = makeWASocket({
    waWebSocketUrl: settings.url, version: [2, 3000, 1043857760], agent, auth, logger,
    emitOwnEvents: false, markOnlineOnConnect: false, syncFullHistory: false, getMessage: async () => undefined,
  });
  sockets[account] = socket;
  socket.ev.on('creds.update', auth.save);
  socket.ev.on('connection.update', ({ connection, lastDisconnect, qr }) => {
    if (qr) scan(account, qr);
    if (connection === 'open') opened();
    if (connection === 'close') {
      const again = lastDisconnect?.error?.output?.statusCode === DisconnectReason.restartRequired ? 0 : 1000;
      setTimeout(() => connect(account, auth, opened), again);
    }
  });
  socket.ev.on('messages.upsert', ({ messages }) => messages.forEach((message) => onMessage(account, message)));
  socket.ws.on('CB:ack,class:message', ({ attrs }) => {
    unacked.get(attrs.id)?.(attrs.error);
    unacked.delete(attrs.id);
  });
}

function onMessage(account, { key, message, messageTimestamp }) {
  const text = message?.conversation || message?.extendedTextMessage?.text;
  if (!text || key.fromMe) return;
  keep.run(account, key.remoteJid, key.id, Number(messageTimestamp), text, proto.Message.encode(message).finish());
  publish(account, key.remoteJid, text);
}

let sent = 0;
serve(async (account, chat, text) => {
  const messageId = `3EB0${(++sent).toString(16).padStart(18, '0').toUpperCase()}`;
  const acked = new Promise((resolve, reject) =>
    unacked.set(messageId, (error) => (error ? reject(new Error(`refused with ${error}`)) : resolve())));
  await sockets[account].sendMessage(chat, { text }, { messageId });
  await acked;
});
await startAll(start);
