// MCP by hand, for what no SDK does on purpose: which connection carries which request.
import http from 'node:http';
import { check } from '../lib/context.mjs';
import { Feed, within } from '../lib/wait.mjs';

/** One keep-alive connection. It is opened at once, so the order of opening is the order of the workers. */
export class Connection {
  #agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

  constructor({ url, key }) {
    this.url = new URL(url);
    this.key = key;
  }

  /** Ends with the head of the answer. */
  #send(method, path, headers, body) {
    return new Promise((resolve, reject) => {
      const request = http.request({
        agent: this.#agent, host: this.url.hostname, port: this.url.port, method, path,
        headers: { authorization: `Bearer ${this.key}`, ...headers, ...(body ? { 'content-length': Buffer.byteLength(body) } : {}) },
      }, resolve);
      request.on('error', reject);
      request.end(body);
    });
  }

  async ask(method, path, headers = {}, body = undefined) {
    const answer = await within(40_000, `${method} ${path}`, this.#send(method, path, headers, body));
    let text = '';
    for await (const piece of answer) text += piece;
    return { status: answer.statusCode, headers: answer.headers, text };
  }

  /** A POST of the session; the JSON of the answer, whether it came alone or as a stream. */
  async post(session, message) {
    const headers = { accept: 'application/json, text/event-stream', 'content-type': 'application/json', ...(session ? { 'mcp-session-id': session } : {}) };
    const answer = await this.ask('POST', '/mcp', headers, JSON.stringify({ jsonrpc: '2.0', ...message }));
    return { ...answer, messages: messagesOf(answer) };
  }

  async open(revision = '2025-11-25') {
    const params = { protocolVersion: revision, capabilities: {}, clientInfo: { name: 'raw', version: '1' } };
    const answer = await this.post(undefined, { id: 0, method: 'initialize', params });
    check(answer.status === 200, `initialize: ${answer.status} ${answer.text}`);
    await this.post(answer.headers['mcp-session-id'], { method: 'notifications/initialized' });
    return answer.headers['mcp-session-id'];
  }

  /** The session's stream: a feed of its messages. The connection is taken by it. */
  async listen(session, lastEventId) {
    const headers = { accept: 'text/event-stream', 'mcp-session-id': session, ...(lastEventId ? { 'last-event-id': lastEventId } : {}) };
    const answer = await this.#send('GET', '/mcp', headers);
    const stream = { status: answer.statusCode, messages: new Feed(), lastId: lastEventId, closed: false };
    let text = '';
    answer.setEncoding('utf8');
    answer.on('data', (piece) => {
      text += piece;
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
        const frame = text.slice(0, end);
        stream.lastId = /^id: (.*)$/m.exec(frame)?.[1] ?? stream.lastId;
        const data = /^data: (.+)$/m.exec(frame)?.[1];
        if (data) stream.messages.push(JSON.parse(data));
      }
    });
    answer.on('close', () => (stream.closed = true));
    answer.on('error', () => {});
    return stream;
  }

  close() {
    this.#agent.destroy();
  }
}

function messagesOf({ headers, text }) {
  if (!text) return [];
  if (!headers['content-type']?.startsWith('text/event-stream')) return [JSON.parse(text)];
  return [...text.matchAll(/^data: (.+)$/gm)].map(([, data]) => JSON.parse(data));
}
