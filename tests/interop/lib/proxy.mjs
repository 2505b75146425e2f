// The reverse proxies of deploy/ as child processes: the files that the documentation hands out, with nothing in them
// changed but addresses, the certificate and, where a case asks for it, how long silence is suffered.
import { lookup } from 'node:dns';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import { delimiter, join } from 'node:path';
import { Agent, fetch } from 'undici';
import { root } from './paths.mjs';
import { Child, freePort } from './process.mjs';
import { Feed, until } from './wait.mjs';

export const PUBLIC_NAME = 'parley.example.org';

/** Where Debian puts daemons is not on every user's path. */
export function findProxy(name) {
  return [...process.env.PATH.split(delimiter), '/usr/sbin'].map((folder) => join(folder, name)).find(existsSync);
}

const isRoot = process.getuid() === 0;
const SILENCE = '1h';

/** How each is run: its file in deploy/, what stands in it and must be exchanged, what goes around it. */
const kinds = {
  nginx: {
    file: 'nginx.conf',
    changes: ({ port, backend, tls, silence }) => [
      ['listen 443 ssl', `listen 127.0.0.1:${port} ssl`],
      ['127.0.0.1:8790', backend],
      ['/etc/ssl/parley/fullchain.pem', tls.cert],
      ['/etc/ssl/parley/privkey.pem', tls.key],
      ...(silence ? [[`proxy_read_timeout ${SILENCE}`, `proxy_read_timeout ${silence}`]] : []),
    ],
    around: (dir, text) => `
daemon off; pid ${dir}/nginx.pid; worker_processes 1; error_log stderr; ${isRoot ? 'user root;' : ''}
events { worker_connections 256; }
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((each) => `${each}_temp_path ${dir}/${each};`).join(' ')}
${text}
}
`,
    args: (dir, config) => ['-e', 'stderr', '-p', dir, '-c', config],
  },
  haproxy: {
    file: 'haproxy.cfg',
    changes: ({ port, backend, tls, silence }) => [
      ['bind :443 ssl', `bind 127.0.0.1:${port} ssl`],
      ['127.0.0.1:8790', backend],
      ['/etc/haproxy/parley.pem', tls.both],
      ...(silence ? [[`timeout server ${SILENCE}`, `timeout server ${silence}`]] : []),
    ],
    around: (dir, text) => `global\n    log stderr format raw local0\n    maxconn 200\n\n${text}`,
    args: (dir, config) => ['-db', '-f', config],
  },
  caddy: {
    file: 'Caddyfile',
    changes: ({ port, backend, tls }) => [
      [`${PUBLIC_NAME} {`, `https://${PUBLIC_NAME}:${port} {\n\tbind 127.0.0.1\n\ttls ${tls.cert} ${tls.key}`],
      ['127.0.0.1:8790', backend],
    ],
    around: (dir, text) => `{\n\tadmin off\n\tauto_https disable_redirects\n}\n${text}`,
    args: (dir, config) => ['run', '--adapter', 'caddyfile', '--config', config],
  },
};

function exchange(text, changes, file) {
  for (const [from, to] of changes) {
    if (!text.includes(from)) throw new Error(`${file} holds no "${from}"`);
    text = text.replaceAll(from, to);
  }
  return text;
}

/** Every name is this machine; `all` is how newer callers ask. */
function here(name, options, done) {
  lookup('127.0.0.1', options, done);
}

export class Proxy {
  /** `silence`: how long a stream may be silent, instead of what the file says ('20s'); not for caddy, which has no limit. */
  constructor({ kind, dir, backendPort, certificates, silence, label = kind }) {
    Object.assign(this, { kind, backendPort, silence, label, ca: readFileSync(certificates.ca) });
    this.dir = join(dir, label);
    mkdirSync(this.dir);
    const { cert, key } = certificates.issue(PUBLIC_NAME);
    this.tls = { cert, key, both: join(this.dir, 'both.pem') };
    writeFileSync(this.tls.both, readFileSync(cert, 'utf8') + readFileSync(key, 'utf8'));
  }

  async start() {
    const { file, changes, around, args } = kinds[this.kind];
    this.port = await freePort();
    const own = readFileSync(join(root, 'deploy', file), 'utf8');
    const backend = `127.0.0.1:${this.backendPort}`;
    const config = join(this.dir, 'config');
    writeFileSync(config, around(this.dir, exchange(own, changes({ ...this, backend }), file)));
    this.child = new Child({
      program: findProxy(this.kind), args: args(this.dir, config), dir: this.dir, logName: this.label,
      env: { HOME: this.dir, XDG_DATA_HOME: this.dir, XDG_CONFIG_HOME: this.dir },
    });
    this.agent = new Agent({ connect: { ca: this.ca, lookup: here } });
    await until(15_000, `${this.label} to answer`, async () => {
      if (this.child.end) return true;
      const answer = await this.fetch(`${this.url}/livez`);
      await answer.text();
      return answer.ok;
    });
    this.child.check();
    return this;
  }

  get url() {
    return `https://${PUBLIC_NAME}:${this.port}`;
  }

  /** The way through the proxy, for SDKs and scripts alike. */
  fetch = (url, init) => fetch(url, { ...init, dispatcher: this.agent });

  /** A GET that says another Host than it dialled; the status. */
  statusFor(path, host) {
    return new Promise((resolve, reject) => {
      const request = https.get(
        { host: '127.0.0.1', port: this.port, path, servername: PUBLIC_NAME, ca: this.ca, headers: { host }, agent: false },
        (answer) => answer.resume().on('end', () => resolve(answer.statusCode)));
      request.on('error', reject);
    });
  }

  /** An event stream over HTTP/2: its frames and comments as they come. */
  stream(path, headers) {
    const session = http2.connect(this.url, { ca: this.ca, lookup: here });
    const stream = { frames: new Feed(), comments: 0, closed: false, close: () => session.destroy() };
    let text = '';
    const request = session.request({ ':path': path, accept: 'text/event-stream', ...headers });
    request.setEncoding('utf8');
    request.on('response', (head) => stream.frames.push({ status: head[':status'] }));
    request.on('data', (piece) => {
      text += piece;
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
        const frame = text.slice(0, end);
        if (frame.startsWith(':')) stream.comments++;
        const [id, event, data] = ['id', 'event', 'data'].map((name) => new RegExp(`^${name}: (.*)$`, 'm').exec(frame)?.[1]);
        if (data) stream.frames.push({ id, event, data: JSON.parse(data) });
      }
    });
    for (const each of [session, request]) each.on('error', () => {});
    session.on('close', () => (stream.closed = true));
    request.on('close', () => (stream.closed = true));
    return stream;
  }

  async kill() {
    await this.agent?.destroy();
    await this.child?.kill('SIGTERM');
  }
}
