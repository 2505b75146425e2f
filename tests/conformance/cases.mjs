// The suite against the fixture: one case per version and revision. A case fails when a scored scenario fails, when a
// check fails in an unscored one that we do not leave out, and when fewer checks ran than we know of.
import { createServer, request } from 'node:http';
import { join } from 'node:path';
import { check, same } from '../interop/lib/context.mjs';
import { interop } from '../interop/lib/paths.mjs';
import { Child, freePort, program } from '../interop/lib/process.mjs';
import { until } from '../interop/lib/wait.mjs';

const NEWEST = '@modelcontextprotocol/conformance';
const OLDEST = 'mcp-conformance-0.1';

/** Scenarios of an extension that we do not offer; the suite itself does not score them. */
const LEFT_OUT = /^tasks-/;

async function fixture(t) {
  if (!program('parleyd-conformance')) t.skip('parleyd-conformance is not built');
  const port = await freePort();
  const args = ['--data', join(t.dir, 'data'), '--listen', `127.0.0.1:${port}`, '--workers', '2', '--map-size', String(8 * 1024 ** 3)];
  const child = new Child({ program: program('parleyd-conformance'), args, dir: t.dir, logName: 'fixture' });
  t.atEnd(() => child.kill());
  await until(10_000, 'the fixture to be ready', async () => child.end || (await fetch(`http://localhost:${port}/mcp`, { method: 'OPTIONS' })).ok);
  child.check();
  return { child, port };
}

/** Runs the suite; answers its lines, its exit code and what it counted: scenario → [passed, failed]. */
async function suite(t, { name, port, options = [] }) {
  const lines = [];
  const args = [join(interop, 'node_modules', name, 'dist/index.js'), 'server', '--url', `http://localhost:${port}/mcp`, ...options];
  const child = new Child({ program: process.execPath, args, dir: t.dir, logName: 'suite', onLine: (line) => lines.push(line) });
  t.atEnd(() => child.kill());
  const { code } = await child.ended;
  const counted = new Map();
  for (const line of lines) {
    const [, scenario, passed, failed] = /^[✓✗] (\S+): (\d+) passed, (\d+) failed/.exec(line) ?? [];
    if (scenario) counted.set(scenario, [Number(passed), Number(failed)]);
  }
  return { code, lines, counted };
}

function sums(counted) {
  const all = [...counted.values()];
  return [0, 1].map((i) => all.reduce((sum, counts) => sum + counts[i], 0));
}

async function conforms(t, { name, options, scenarios, checks }) {
  const { child, port } = await fixture(t);
  const { code, lines, counted } = await suite(t, { name, port, options });
  const ours = new Map([...counted].filter(([scenario]) => !LEFT_OUT.test(scenario)));
  const [passed, failed] = sums(ours);
  console.log(`  ${ours.size} scenarios, ${passed} checks passed, ${failed} failed` +
    (ours.size < counted.size ? `; ${counted.size - ours.size} unscored scenarios left out` : ''));
  const wrong = lines.filter((line) => line.startsWith('✗') && !LEFT_OUT.test(line.slice(2)));
  same(wrong, [], 'scenarios that fail');
  same(code, 0, `the exit code of the suite\n${lines.slice(-40).join('\n')}`);
  same([ours.size, passed, failed], [scenarios, checks, 0], 'scenarios, checks passed, checks failed');
  await child.stop();
  same(child.end.code, 0, `the end of the fixture\n${child.tail()}`);
}

/** A door that forgets one word of every modern answer must not pass: the run can fail. */
async function hasTeeth(t) {
  const { port } = await fixture(t);
  const liar = createServer((asked, answer) => {
    const onward = request({ port, host: '127.0.0.1', path: asked.url, method: asked.method, headers: asked.headers }, async (had) => {
      const pieces = [];
      for await (const piece of had) pieces.push(piece);
      const body = Buffer.concat(pieces).toString().replaceAll('"cacheScope":"private",', '');
      const { 'content-length': length, 'transfer-encoding': coding, ...headers } = had.headers;
      answer.writeHead(had.statusCode, headers).end(body);
    });
    asked.pipe(onward);
  });
  await new Promise((resolve) => liar.listen(0, '127.0.0.1', resolve));
  t.atEnd(() => liar.close());
  const options = ['--scenario', 'caching', '--spec-version', '2026-07-28'];
  const honest = await suite(t, { name: NEWEST, port, options });
  same(honest.code, 0, `the exit code without the fault\n${honest.lines.slice(-20).join('\n')}`);
  const { code } = await suite(t, { name: NEWEST, port: liar.address().port, options });
  check(code !== 0, 'the suite did not notice that cacheScope is missing');
}

export const allCases = [
  {
    name: 'requirements-2025-11-25',
    about: 'conformance 0.2.0-alpha.12, requirements of 2025-11-25: 84 checks',
    needs: [],
    run: (t) => conforms(t, { name: NEWEST, options: ['--requirements', '2025-11-25'], scenarios: 33, checks: 84 }),
  },
  {
    name: 'requirements-2026-07-28',
    about: 'conformance 0.2.0-alpha.12, requirements of 2026-07-28: all but the tasks extension',
    needs: [],
    run: (t) => conforms(t, { name: NEWEST, options: ['--requirements', '2026-07-28'], scenarios: 40, checks: 153 }),
  },
  {
    name: 'version-0-1-16',
    about: 'conformance 0.1.16: 40 checks',
    needs: [],
    run: (t) => conforms(t, { name: OLDEST, options: [], scenarios: 30, checks: 40 }),
  },
  { name: 'teeth', about: 'the suite fails when a door behind it breaks a rule', needs: [], run: hasTeeth },
];
