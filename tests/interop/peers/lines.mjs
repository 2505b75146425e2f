// The line protocol of README.md, for the drivers written in JavaScript: commands in, events out, one JSON a line.
import { createInterface } from 'node:readline';

export function emit(event, members = {}) {
  process.stdout.write(JSON.stringify({ event, ...members }) + '\n');
}

export function emitError(cmd, error) {
  emit('error', { cmd, reason: reasonOf(error) });
}

export function reasonOf(error) {
  return String(error?.message ?? error?.reason ?? error);
}

/** Standard output belongs to the protocol: whatever a package prints goes to standard error. */
function keepStdoutClean() {
  for (const name of ['log', 'info', 'debug', 'dir', 'trace']) console[name] = (...args) => console.error(...args);
}

/**
 * Runs a driver: `commands` maps each command to an async function of its members; `stop` ends the client.
 * Commands start in the order they came, but a slow one does not hold up the next.
 */
export function serve({ commands, stop }) {
  keepStdoutClean();
  process.on('unhandledRejection', (error) => console.error('unhandled rejection', error));
  const finish = async () => {
    await Promise.race([stop().catch((error) => emitError('stop', error)), pause(5000)]);
    emit('stopped');
    // Written first, so that a pipe that is still full does not swallow the last lines.
    process.stdout.write('', () => process.exit(0));
  };
  const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
  let finished;
  lines.on('line', (line) => {
    if (finished || line.trim() === '') return;
    let message;
    try {
      message = JSON.parse(line);
    } catch (error) {
      return emitError('', error);
    }
    if (message.cmd === 'stop') return void (finished ??= finish());
    const run = commands[message.cmd];
    if (!run) return emitError(message.cmd, 'unknown command');
    run(message).catch((error) => emitError(message.cmd, error));
  });
  lines.on('close', () => void (finished ??= finish()));
}

export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Digits become a phone number's JID; a full JID stays as it is. */
export function address(text) {
  return text.includes('@') ? text : `${text}@s.whatsapp.net`;
}

/** The phone number's digits where one of the addresses is one, else the first address without its device. */
export function plain(...addresses) {
  const known = addresses.filter(Boolean).map((jid) => jid.replace(/:\d+@/, '@'));
  const number = known.find((jid) => jid.endsWith('@s.whatsapp.net'));
  return number ? number.split('@')[0] : (known[0] ?? '');
}
