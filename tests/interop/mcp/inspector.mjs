// The inspector's command line, an unmodified client that a person would try first, in both eras.
import { join } from 'node:path';
import { check, same } from '../lib/context.mjs';
import { interop } from '../lib/paths.mjs';
import { Child } from '../lib/process.mjs';

const PROGRAM = join(interop, 'node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js');

/** One run of it; answers what it printed, parsed. */
async function ask(t, parleyd, era, ...options) {
  const lines = [];
  const args = [PROGRAM, '--cli', `${parleyd.url}/mcp`, '--header', `Authorization: Bearer ${parleyd.testKey}`, '--protocol-era', era, ...options];
  // It keeps a catalogue of servers in the home folder.
  const child = new Child({ program: process.execPath, args, env: { HOME: t.dir }, dir: t.dir, logName: 'inspector', onLine: (line) => lines.push(line) });
  t.atEnd(() => child.kill());
  const { code } = await child.ended;
  same(code, 0, `the exit code of ${options.join(' ')} (${era})\n${child.tail()}`);
  return JSON.parse(lines.join('\n'));
}

async function inspect(t, era) {
  const parleyd = await t.parleyd({ workers: 2 });
  // --strict: also every schema must be one that all known hosts take.
  const { tools } = await ask(t, parleyd, era, '--method', 'tools/list', '--strict');
  check(tools.some(({ name }) => name === 'send_message'), 'the tools');
  const accounts = await ask(t, parleyd, era, '--method', 'tools/call', '--tool-name', 'list_accounts');
  same(accounts.structuredContent.accounts, [], 'list_accounts');
  const { resources } = await ask(t, parleyd, era, '--method', 'resources/list');
  check(resources.some(({ uri }) => uri === 'whatsapp://events'), 'the resources');
  const read = await ask(t, parleyd, era, '--method', 'resources/read', '--uri', 'whatsapp://accounts');
  same(JSON.parse(read.contents[0].text).accounts, [], 'what a resource holds');
  const { prompts } = await ask(t, parleyd, era, '--method', 'prompts/list');
  check(prompts.some(({ name }) => name === 'draft_reply'), 'the prompts');
}

export const inspectorCases = ['legacy', 'modern', 'auto'].map((era) => ({
  name: `mcp-inspector-${era}`,
  about: `the inspector's CLI, --protocol-era ${era}: tools with strict schemas, a call, resources, prompts`,
  needs: ['parleyd'],
  run: (t) => inspect(t, era),
}));
