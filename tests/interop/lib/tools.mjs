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
  return answer.account_id;
}

/** The message of an event. */
export function messageOf(event) {
  return event.data.message ?? event.data;
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

/** Every event of the tenant's log that this key sees (behind the number `after`), oldest first. */
export async function wholeLog(subscriber, after) {
  const events = [];
  let cursor = after === undefined ? undefined : String(after);
  for (;;) {
    const page = await subscriber.call('list_events', { limit: 200, ...(cursor ? { cursor } : {}) });
    check(!page.truncated, 'the log lost events behind the cursor');
    events.push(...page.events);
    cursor = page.next_cursor;
    if (!page.has_more) return events;
  }
}

/** All messages of a chat, newest first. */
export async function wholeChat(subscriber, chat) {
  const messages = [];
  let cursor;
  for (;;) {
    const page = await subscriber.call('list_messages', { chat_id: chat, limit: 200, ...(cursor ? { cursor } : {}) });
    messages.push(...page.messages);
    cursor = page.next_cursor;
    if (!cursor) return messages;
  }
}
