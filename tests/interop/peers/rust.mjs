// Drives an unmodified whatsapp-rust (its WebAssembly build for Node) with the line protocol of README.md.
import { readFileSync } from 'node:fs';
import WebSocket from 'ws';
import {
  createWhatsAppClient,
  decodeMessageWireBatch,
  decodeProto,
  encodeProto,
  initWasmEngine,
} from 'whatsapp-rust-client';
import { address, emit, plain, reasonOf, serve } from './lines.mjs';
import { openStore } from './store.mjs';

const CONNECT_TIMEOUT_MS = 20_000;

let client;
let store;
let unacked;

async function start(command) {
  if (client) throw new Error('already started');
  initWasmEngine(logger(process.env.PEER_DEBUG ? 'trace' : 'error'));
  store = openStore(command.state_dir);
  unacked = new Set();
  const events = { onEvent, onMessageBatch, onHistorySyncBatch: () => 0 };
  client = await createWhatsAppClient(transport(command), offline, events, store, null, command.version ?? null);
  // Without a name the client waits ten seconds at every login for app state to bring one.
  await client.setInitialPushName('whatsapp-rust');
  client.run();
}

/** Its log tells which Noise pattern a login took, and nothing else does. */
function logger(level) {
  const order = ['trace', 'debug', 'info', 'warn', 'error'];
  const from = order.indexOf(level);
  const line = (name) => (object, text) => {
    const pattern = /Handshake complete \((\w+)\)/.exec(text)?.[1];
    if (pattern) emit('handshake', { pattern });
    if (order.indexOf(name) >= from) console.error(name, text ?? '', typeof object === 'string' ? object : JSON.stringify(object));
  };
  // The engine asks for the level once; what is below it never gets here.
  return { level: order.indexOf(level) < 2 ? level : 'info', ...Object.fromEntries(order.map((name) => [name, line(name)])) };
}

/** WhatsApp's WebSocket, at the simulator's address. */
function transport({ url, ca_file }) {
  let link;
  return {
    /** The client sends as soon as this settles, so it settles when the link stands. */
    connect(handle) {
      const opened = new WebSocket(url, {
        ca: ca_file ? readFileSync(ca_file) : undefined,
        origin: 'https://web.whatsapp.com',
        handshakeTimeout: CONNECT_TIMEOUT_MS,
        perMessageDeflate: false,
      });
      link = opened;
      opened.on('message', (data) => handle.onData(new Uint8Array(data)));
      opened.on('close', (code) => {
        emit('closed', { reason: `link closed ${code}`, final: false });
        handle.onDisconnected();
      });
      return new Promise((resolve, reject) => {
        opened.on('open', () => {
          handle.onConnected();
          resolve();
        });
        opened.on('error', (error) => {
          console.error('link:', reasonOf(error));
          reject(error);
        });
      });
    },
    send(data) {
      if (link?.readyState !== WebSocket.OPEN) throw new Error('not connected');
      link.send(data);
    },
    disconnect() {
      link?.close();
    },
  };
}

/** Media and version look-ups have no place here: nothing in these tests leaves the machine. */
const offline = {
  execute: async () => ({ statusCode: 503, body: new Uint8Array() }),
};

const handlers = {
  qr: ({ code }) => emit('qr', { qr: code }),
  pair_success: ({ id, lid }) => emit('paired', { jid: text(id), lid: text(lid) }),
  pair_error: ({ error }) => emit('closed', { reason: `pairing: ${error}`, final: true }),
  connected: () => emit('open'),
  logged_out: ({ reason }) => emit('closed', { reason: `logged out ${reason}`, final: true }),
  stream_replaced: () => emit('closed', { reason: 'replaced', final: true }),
  client_outdated: () => emit('closed', { reason: 'outdated', final: true }),
  temporary_ban: ({ code }) => emit('closed', { reason: `banned ${code}`, final: true }),
  connect_failure: ({ reason, message }) => emit('closed', { reason: `failure ${reason} ${message ?? ''}`, final: false }),
  stream_error: ({ code }) => emit('closed', { reason: `stream error ${code}`, final: false }),
  undecryptable_message: ({ info }) =>
    emit('undecryptable', { id: info?.id, from: plain(text(info?.source?.sender), text(info?.source?.sender_alt)) }),
  server_ack: onAck,
  receipt: onReceipt,
};

function onEvent({ type, data }) {
  handlers[type]?.(data ?? {});
}

/** Addresses come as text or as parts. */
function text(jid) {
  if (!jid || typeof jid === 'string') return jid || undefined;
  return `${jid.user}${jid.device ? `:${jid.device}` : ''}@${jid.server}`;
}

function onAck({ id, class: kind, error }) {
  if ((kind && kind !== 'message') || !unacked.delete(id)) return;
  emit('sent', error ? { id, error: `server error ${error}` } : { id });
}

/** The client names receipts in its own spelling; the protocol has the words of the wire. */
function receiptName(type) {
  const name = typeof type === 'string' ? type : (type?.Other ?? type?.other ?? JSON.stringify(type));
  const words = name.replace(/([a-z])([A-Z])/g, '$1-$2').replaceAll('_', '-').toLowerCase();
  return words === 'delivered' || words === '' ? 'delivery' : words;
}

async function onReceipt({ source, message_ids, type }) {
  const from = await phoneOf(text(source.sender), text(source.sender_alt));
  for (const id of message_ids) emit('receipt', { id, type: receiptName(type), from });
}

/** Events arrive while the client runs, so it may be asked only after they have returned. */
async function phoneOf(...addresses) {
  const known = plain(...addresses);
  if (!known.endsWith('@lid')) return known;
  await undefined;
  const phone = await client.pnForLid(known).catch(() => undefined);
  return phone ? plain(phone) : known;
}

async function onMessageBatch(batch) {
  const { messageData, messageOffsets, infos } = decodeMessageWireBatch(batch);
  const messages = infos.map((info, n) => ({
    info,
    message: decodeProto('Message', messageData.slice(messageOffsets[n], messageOffsets[n + 1])),
  }));
  for (const { info, message } of messages) {
    const body = message.conversation || message.extendedTextMessage?.text;
    if (!body) continue;
    const from = await phoneOf(info.sender, info.senderAlt);
    const other = info.isFromMe ? info.recipientAlt : info.senderAlt;
    const chat = info.isGroup ? info.chat : await phoneOf(info.chat, other);
    emit('message', { id: info.id, from, chat, text: body, from_me: info.isFromMe, jid: info.sender });
  }
}

async function send({ to, text: body, id }) {
  const messageId = id ?? `3EB0${crypto.randomUUID().replaceAll('-', '').slice(0, 18).toUpperCase()}`;
  try {
    if (!client) throw new Error('not started');
    unacked.add(messageId);
    await client.relayMessageBytes(address(to), encodeProto('Message', { conversation: body }), messageId);
  } catch (error) {
    if (unacked.delete(messageId)) emit('sent', { id: messageId, error: reasonOf(error) });
  }
}

async function read({ chat, ids, sender }) {
  const remoteJid = address(chat);
  const participant = remoteJid.endsWith('@g.us') ? address(sender) : undefined;
  await client.readMessages(ids.map((id) => ({ remoteJid, id, participant })));
}

async function presence({ state, to }) {
  if (state === 'available' || state === 'unavailable') await client.sendPresence(state);
  else await client.sendChatState(address(to), state);
}

async function logout() {
  await client.logout();
  emit('closed', { reason: 'logged out', final: true });
}

async function stop() {
  await client?.disconnect();
  store?.close();
}

serve({ commands: { start, send, send_group: send, read, presence, logout }, stop });
