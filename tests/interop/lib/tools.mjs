// Parley's tools as the cases use them, on any subscriber.
import { check } from './context.mjs';
import { until } from './wait.mjs';

/** What a QR code holds, wherever in an answer it stands: five fields behind WhatsApp's address, or bare. */
const CODE = /^(https:\/\/wa\.me\/settings\/linked_devices#)?\S+(,[A-Za-z0-9+/=]+){3},\S+$/;

export function codeIn(answer) {
  if (typeof answer === 'string') return CODE.test(answer) ? answer : undefined;
  if (answer && typeof answer === 'object')
    for (const value of Object.values(answer)) {
      const code = codeIn(value);
      if (code) return code;
    }
  return undefined;
}

export function accountOf(answer) {
  return answer.account_id ?? answer.account?.id ?? answer.id;
}

/** The message of an event or a tool's answer. */
export function messageOf(answer) {
  return answer.data?.message ?? answer.message ?? answer.data ?? answer;
}

export function chatOf(message) {
  return message.chat_id ?? message.chat?.id;
}

export function messageIdOf(message) {
  return message.id ?? message.message_id;
}

/** pair_account, scanned by the phone of that number; answers the account once it is connected. */
export async function pairAccount(subscriber, sim, number) {
  const answer = await subscriber.call('pair_account', {});
  const account = accountOf(answer);
  const code = codeIn(answer);
  check(account?.startsWith('acc_'), `pair_account names no account: ${JSON.stringify(answer)}`);
  check(code, `pair_account holds no code: ${JSON.stringify(answer)}`);
  await sim.scan(number, code);
  await accountStatus(subscriber, account, 'connected');
  return account;
}

export function accountStatus(subscriber, account, wanted, ms = 30_000) {
  return until(ms, `${account} to be ${wanted}`, async () => {
    const { status } = await subscriber.call('get_account_status', { account_id: account });
    if (status === wanted) return true;
    throw new Error(`it is ${status}`);
  }, 200);
}

/** Every event of the tenant's log that this key sees, oldest first. */
export async function wholeLog(subscriber, after) {
  const events = [];
  let cursor = after;
  for (;;) {
    const page = await subscriber.call('list_events', { limit: 200, ...(cursor === undefined ? {} : { cursor }) });
    const list = page.events ?? page.items ?? [];
    events.push(...list);
    const next = page.next_cursor;
    if (!next || next === cursor || list.length === 0) return events;
    cursor = next;
  }
}

/** All messages of a chat, newest first. */
export async function wholeChat(subscriber, chat) {
  const messages = [];
  let cursor;
  for (;;) {
    const page = await subscriber.call('list_messages', { chat_id: chat, limit: 200, ...(cursor ? { cursor } : {}) });
    messages.push(...(page.messages ?? page.items ?? []));
    cursor = page.next_cursor;
    if (!cursor) return messages;
  }
}
