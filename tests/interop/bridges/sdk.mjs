// A server of MCP's TypeScript SDK with as many sessions as come, each with its stream; see README.md.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';

const settings = JSON.parse(process.argv[2]);
const sessions = new Map();

async function newSession() {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    enableJsonResponse: true,
    onsessioninitialized: (id) => sessions.set(id, { transport, server }),
  });
  const server = new McpServer({ name: 'bench', version: '1' }, { capabilities: { logging: {} } });
  await server.connect(transport);
  return transport;
}

async function bodyOf(request) {
  let text = '';
  for await (const piece of request) text += piece;
  return text ? JSON.parse(text) : undefined;
}

/** One notification to everybody, of about `bytes` on the wire, as an event of ours would be. */
async function fire({ events, bytes }) {
  const params = { level: 'info', data: { event: 'message.received', text: 'to everybody', filler: 'x'.repeat(Math.max(0, bytes - 170)) } };
  for (let n = 0; n < events; n++)
    await Promise.all([...sessions.values()].map(({ server }) => server.server.notification({ method: 'notifications/message', params })));
}

async function onRequest(request, answer) {
  if (request.url === '/fire') {
    await fire(await bodyOf(request));
    return answer.writeHead(204, { 'content-length': 0 }).end();
  }
  const known = sessions.get(request.headers['mcp-session-id']);
  const body = request.method === 'POST' ? await bodyOf(request) : undefined;
  return (known?.transport ?? (await newSession())).handleRequest(request, answer, body);
}

const server = createServer((request, answer) => onRequest(request, answer).catch((error) => answer.writeHead(500).end(String(error))));
const [host, port] = settings.listen.split(':');
server.keepAliveTimeout = 0;
server.listen(Number(port), host, 1024, () => process.stdout.write('ready\n'));
process.on('SIGTERM', () => process.exit(0));
