// Child processes: their output goes to files of the case, and none of them outlives the runner.
import { spawn } from 'node:child_process';
import { createWriteStream, existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { root } from './paths.mjs';
import { Timeout, within } from './wait.mjs';

const living = new Set();

function killAll() {
  for (const child of living) child.kill('SIGKILL');
}
process.on('exit', killAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(130));

export class Child {
  /** `logName` names the file in `dir` that takes its standard error (and output, unless `onLine` reads it). */
  constructor({ program, args = [], env = {}, dir, logName, onLine }) {
    this.name = logName;
    this.log = join(dir, `${logName}.log`);
    this.process = spawn(program, args, {
      cwd: dir,
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    living.add(this.process);
    const log = createWriteStream(this.log, { flags: 'a' });
    this.process.stderr.pipe(log, { end: false });
    if (onLine) createInterface({ input: this.process.stdout }).on('line', onLine);
    else this.process.stdout.pipe(log, { end: false });
    this.process.stdin.on('error', () => {});
    this.ended = new Promise((resolve) => {
      this.process.on('error', (error) => resolve({ error }));
      this.process.on('close', (code, signal) => resolve({ code, signal }));
    }).then((end) => {
      living.delete(this.process);
      log.end();
      this.end = end;
      return end;
    });
  }

  get pid() {
    return this.process.pid;
  }

  writeLine(text) {
    this.process.stdin.write(text + '\n');
  }

  /** The program should still run; if it ended, this tells how. */
  check() {
    if (this.end) throw new Error(`${this.name} ended: ${this.describeEnd()}`);
  }

  describeEnd() {
    const { error, code, signal } = this.end;
    const how = error ? error.message : signal ? `signal ${signal}` : `exit ${code}`;
    return `${how}\n${this.tail()}`;
  }

  /** The last lines of what it wrote. */
  tail(lines = 15) {
    if (!existsSync(this.log)) return '';
    return readFileSync(this.log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  }

  async kill(signal = 'SIGKILL') {
    if (!this.end) this.process.kill(signal);
    return this.ended;
  }

  /** Asks it to end with SIGTERM and insists after `ms`. */
  async stop(ms = 5000) {
    if (this.end) return this.end;
    this.process.kill('SIGTERM');
    try {
      return await within(ms, `${this.name} to end`, this.ended);
    } catch (error) {
      if (!(error instanceof Timeout)) throw error;
      await this.kill();
      throw new Timeout(`${error.message}; killed\n${this.tail()}`);
    }
  }
}

/**
 * A port that was free a moment ago; different calls answer different ports. They lie below those that the kernel gives to
 * outgoing connections, at a place of this process's own, so that nobody takes one before the program that it is for.
 */
export async function freePort() {
  for (;;) {
    const port = 10_000 + ((process.pid * 40 + portsTried++) % 22_000);
    const free = await new Promise((resolve) => {
      const server = createServer();
      server.on('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
}
let portsTried = 0;
/** Where the C programs are: --build or $PARLEY_BUILD, else the release build or the debug one. */
export function program(name) {
  const builds = process.env.PARLEY_BUILD ? [process.env.PARLEY_BUILD] : ['release', 'debug'].map((name) => join(root, 'build', name));
  const folders = builds.flatMap((build) => ['bin', '.', 'tools/sim', 'tools/cli', 'server'].map((folder) => join(build, folder)));
  return folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
}
