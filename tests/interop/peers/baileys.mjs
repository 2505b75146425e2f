// Drives an unmodified Baileys with the line protocol of README.md.
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { join } from 'node:path';
import { makeWASocket, proto, useMultiFileAuthState, DisconnectReason, WA_CERT_DETAILS } from 'baileys';
import pino from 'pino';
import { address, emit, pause, plain, reasonOf, serve } from './lines.mjs';

const RETRY_PAUSE_MS = 1000;
/** After these reasons another try would only make things worse. */
const FINAL = new Set([
  DisconnectReason.loggedOut,
  DisconnectReason.connectionReplaced,
  DisconnectReason.forbidden,
  DisconnectReason.multideviceMismatch,
]);

const logger = pino({ level: process.env.PEER_DEBUG ? 'trace' : 'error' }, pino.destination(2));

let socket;
let settings;
let auth;
let stopping = false;
/** Ids of messages sent here whose ack has not come. */
const unacked = new Set();

/** What we sent, by id, on disk: Baileys asks for it when the other side could not decrypt. */
const sentMessages = {
  byId: new Map(),
  open(folder) {
    this.file = join(folder, 'sent.jsonl');
    if (!existsSync(this.file)) return;
    for (const line of readFileSync(this.file, 'utf8').split('\n').filter(Boolean)) {
      const { id, message } = JSON.parse(line);
      this.byId.set(id, message);
    }
  },
  add(id, message) {
    const bytes = Buffer.from(proto.Message.encode(message).finish()).toString('base64');
    this.byId.set(id, bytes);
    appendFileSync(this.file, JSON.stringify({ id, message: bytes }) + '\n');
  },
  get(id) {
    const bytes = this.byId.get(id);
    return bytes && proto.Message.decode(Buffer.from(bytes, 'base64'));
  },
};

async function start(command) {
  if (settings) throw new Error('already started');
  settings = command;
  mkdirSync(command.state_dir, { recursive: true });
  sentMessages.open(command.state_dir);
  if (command.root_key) WA_CERT_DETAILS.PUBLIC_KEY = Buffer.from(command.root_key, 'hex');
  auth = await useMultiFileAuthState(join(command.state_dir, 'auth'));
  connect();
}

function connect() {
  if (stopping) return;
  socket = makeWASocket({
    waWebSocketUrl: settings.url,
    version: settings.version ?? [2, 3000, 1043857760],
    agent: settings.ca_file ? new Agent({ ca: readFileSync(settings.ca_file) }) : undefined,
    auth: auth.state,
    logger,
    emitOwnEvents: false,
    markOnlineOnConnect: false,
    syncFullHistory: false,
    getMessage: async ({ id }) => sentMessages.get(id),
  });
  socket.ev.on('creds.update', auth.saveCreds);
  socket.ev.on('connection.update', onConnection);
  socket.ev.on('messages.upsert', ({ messages }) => messages.forEach(onMessage));
  socket.ws.on('CB:ack,class:message', onAck);
  socket.ws.on('CB:receipt', onReceipt);
}

function onConnection({ connection, lastDisconnect, qr, isNewLogin }) {
  if (qr) emit('qr', { qr });
  if (isNewLogin) emit('paired', { jid: auth.state.creds.me?.id, lid: auth.state.creds.me?.lid });
  if (connection === 'open') emit('open');
  if (connection === 'close') onClosed(lastDisconnect?.error);
}

async function onClosed(error) {
  const status = error?.output?.statusCode;
  // 515 after pairing is part of pairing, not an end.
  const restart = status === DisconnectReason.restartRequired;
  const final = FINAL.has(status) || stopping;
  if (!restart) emit('closed', { reason: `${status ?? ''} ${error ? reasonOf(error) : ''}`.trim(), final });
  if (final) return;
  if (!restart) await pause(RETRY_PAUSE_MS);
  connect();
}

function onMessage({ key, message, messageStubType, messageStubParameters }) {
  const group = key.remoteJid?.endsWith('@g.us');
  const other = plain(key.remoteJid, key.remoteJidAlt);
  const author = group ? plain(key.participant, key.participantAlt) : other;
  const from = key.fromMe ? plain(auth.state.creds.me?.id) : author;
  if (messageStubType === proto.WebMessageInfo.StubType.CIPHERTEXT)
    return emit('undecryptable', { id: key.id, from, reason: messageStubParameters?.[0] });
  const text = message?.conversation || message?.extendedTextMessage?.text;
  if (!text) return;
  const chat = group ? key.remoteJid : other;
  emit('message', { id: key.id, from, chat, text, from_me: Boolean(key.fromMe), jid: key.participant || key.remoteJid });
}

function onAck({ attrs }) {
  if (!unacked.delete(attrs.id)) return;
  emit('sent', attrs.error ? { id: attrs.id, error: `server error ${attrs.error}` } : { id: attrs.id });
}

function onReceipt({ attrs, content }) {
  const list = Array.isArray(content) ? content.find(({ tag }) => tag === 'list') : undefined;
  const more = (list?.content ?? []).map((item) => item.attrs.id);
  const lidOwner = [attrs.participant, attrs.from].map((jid) => jid && phones.get(jid.replace(/:\d+@/, '@')));
  for (const id of [attrs.id, ...more])
    emit('receipt', { id, type: attrs.type || 'delivery', from: plain(attrs.participant ?? attrs.from, ...lidOwner) });
}

/** Phone numbers of the LIDs that messages and receipts have named. */
const phones = new Map();

async function send({ to, text, id }) {
  const jid = address(to);
  const messageId = id ?? `3EB0${crypto.randomUUID().replaceAll('-', '').slice(0, 18).toUpperCase()}`;
  try {
    if (!socket) throw new Error('not started');
    unacked.add(messageId);
    sentMessages.add(messageId, proto.Message.create({ extendedTextMessage: { text } }));
    await socket.sendMessage(jid, { text }, { messageId });
    const lid = await socket.signalRepository.lidMapping.getLIDForPN(jid);
    if (lid) phones.set(lid.replace(/:\d+@/, '@'), jid);
  } catch (error) {
    unacked.delete(messageId);
    emit('sent', { id: messageId, error: reasonOf(error) });
  }
}

async function read({ chat, ids, sender }) {
  const remoteJid = address(chat);
  const participant = remoteJid.endsWith('@g.us') ? address(sender) : undefined;
  await socket.sendReceipts(ids.map((id) => ({ remoteJid, participant, id, fromMe: false })), 'read');
}

async function presence({ state, to }) {
  // Baileys sends its own presence under a name, which a real account gets from app state.
  if (!auth.state.creds.me.name) auth.state.creds.me.name = 'Baileys';
  await socket.sendPresenceUpdate(state, to && address(to));
}

async function logout() {
  stopping = true;
  await socket.logout();
}

async function stop() {
  if (!socket) return;
  stopping = true;
  await socket.end(undefined);
  await auth.saveCreds();
}

serve({ commands: { start, send, send_group: send, read, presence, logout }, stop });
