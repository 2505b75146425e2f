// The README's snippets for MCP clients: each has the shape that its client documents, and what stands in it leads to a
// session in which a tool answers. Programs that are editors do not run here; what they would do with the address and the
// headers does the SDK that they are built on. The lines for curl are typed into a shell.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { check, same } from '../lib/context.mjs';
import { interop, root } from '../lib/paths.mjs';
import { RestSubscriber } from '../lib/subscribers.mjs';
import { pairAccount } from '../lib/tools.mjs';
import { Feed, within } from '../lib/wait.mjs';

const PHONE = '15550004000';

/** How the key stands in a block, where it is not the usual placeholder. */
const placeholders = { vscode: '${input:parley-key}', curl: '$PARLEY_API_KEY' };

/** The text of the block marked "client NAME", with the address and the key of this run. */
function snippet(name, { port, testKey }) {
  const text = new RegExp(`^\`\`\`\\w+ client ${name}\\n([^]*?)^\`\`\``, 'm').exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1];
  check(text?.includes(placeholders[name] ?? 'parley_test_…'), `the README has no snippet for ${name}`);
  return text.replaceAll('127.0.0.1:8790', `127.0.0.1:${port}`).replaceAll(/parley_test_…|\$\{input:parley-key\}/g, testKey);
}

/** What an editor's entry holds: exactly the members that its documentation names for a server at an address. */
function entry(file, list, members) {
  const server = file[list]?.parley;
  same(Object.keys(server ?? {}), members, `members under ${list}.parley`);
  same(Object.keys(server.headers), ['Authorization'], 'headers');
  return server;
}

const editors = {
  cursor: (file) => entry(file, 'mcpServers', ['url', 'headers']),
  cline: (file) => {
    const server = entry(file, 'mcpServers', ['type', 'url', 'headers']);
    same(server.type, 'streamableHttp', 'the type that Cline knows');
    return server;
  },
  vscode: (file) => {
    const [input] = file.inputs;
    same([input.type, input.id, input.password], ['promptString', 'parley-key', true], 'the input');
    const server = entry(file, 'servers', ['type', 'url', 'headers']);
    same(server.type, 'http', 'the type that VS Code knows');
    return server;
  },
};

/** `claude mcp add --transport http NAME URL --header "NAME: VALUE"` */
function claudeCode(line) {
  const [, url, name, value] = /^claude mcp add --transport http parley (\S+) --header "(\w+): ([^"]+)"\n$/.exec(line) ?? [];
  check(url, `the line for Claude Code: ${line}`);
  return { url, headers: { [name]: value } };
}

async function connect(t, transport) {
  const client = new Client({ name: 'readme', version: '1' });
  client.logs = new Feed();
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => client.logs.push(params.data));
  t.atEnd(() => client.close());
  await within(30_000, 'the client to connect', client.connect(transport));
  return client;
}

async function addresses(t) {
  const parleyd = await t.parleyd();
  const servers = Object.entries(editors).map(([name, read]) => [name, read(JSON.parse(snippet(name, parleyd)))]);
  servers.push(['claude-code', claudeCode(snippet('claude-code', parleyd))]);
  for (const [name, { url, headers }] of servers) {
    const client = await connect(t, new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
    const { structuredContent } = await client.callTool({ name: 'list_accounts', arguments: {} });
    same(structuredContent?.accounts, [], `${name}: list_accounts`);
  }
}

/** Claude Desktop starts the command as it stands there and talks to it over its standard streams. */
async function throughMcpRemote(t) {
  const sim = await t.sim();
  const parleyd = await t.parleyd({ sim });
  const { command, args, env } = JSON.parse(snippet('claude-desktop', parleyd)).mcpServers.parley;
  same(args.slice(0, 2), ['-y', 'mcp-remote'], 'what npx runs');
  // In this folder npx finds the pinned version and downloads nothing.
  const client = await connect(t, new StdioClientTransport({
    command, args, cwd: interop, stderr: 'ignore', env: { ...process.env, ...env, MCP_REMOTE_CONFIG_DIR: t.dir },
  }));
  check((await client.listTools()).tools.some(({ name }) => name === 'send_message'), 'the tools through mcp-remote');
  const agent = {
    call: async (name, args) => (await client.callTool({ name, arguments: args })).structuredContent,
  };
  await agent.call('subscribe_events', { events: ['account.*'] });
  await sim.addPhone(PHONE, 'Desktop');
  const account = await pairAccount(agent, sim, PHONE);
  await client.logs.first(10_000, 'account.connected through mcp-remote', ({ event, account_id }) =>
    event === 'account.connected' && account_id === account);
}

/** The lines for scripts, each typed into a shell; a stream is left after two seconds. */
async function curlLines(t) {
  const sim = await t.sim();
  const parleyd = await t.parleyd({ sim });
  const script = new RestSubscriber({ url: parleyd.url, key: parleyd.testKey, name: 'script' });
  await sim.addPhone(PHONE, 'Script');
  await pairAccount(script, sim, PHONE);
  const lines = snippet('curl', parleyd).trim().split('\n').map((line) => line.replace(/ +#.*$/, ''));
  const want = [/^retry: 1000\n/, /^event: gap\n.*"reset":true/m, /^\{"chats":\[\]/];
  same(lines.length, want.length, 'lines for curl');
  for (const [i, line] of lines.entries()) {
    const { stdout } = spawnSync('bash', ['-c', line.replace(/^curl /, 'curl -s --max-time 2 ')], {
      encoding: 'utf8', env: { ...process.env, PARLEY_API_KEY: parleyd.testKey },
    });
    check(want[i].test(stdout), `${line}: ${stdout}`);
  }
}

export const readmeCases = [
  { name: 'readme-curl', about: 'the lines for scripts, typed into a shell', needs: ['sim', 'parleyd'], run: curlLines },
  { name: 'readme-clients', about: 'the snippets for Cursor, Cline, VS Code and Claude Code lead to a session', needs: ['parleyd'], run: addresses },
  {
    name: 'readme-mcp-remote',
    about: 'the snippet for Claude Desktop, run as it stands: mcp-remote carries tools and events',
    needs: ['sim', 'parleyd'],
    run: throughMcpRemote,
  },
];
