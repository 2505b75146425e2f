// The runner behind ../run: picks cases, runs them one after another, prints the table.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { Context, Skip } from './context.mjs';
import { interop, root } from './paths.mjs';
import { within } from './wait.mjs';

const DEFAULT_CASE_MS = 120_000;

let allCases;

const ARGUMENTS = {
  allowPositionals: true,
  options: {
    strict: { type: 'boolean', default: process.env.CI === 'true' },
    build: { type: 'string' },
    keep: { type: 'boolean' },
    'runtimes-ready': { type: 'boolean' },
    json: { type: 'string' },
    'write-list': { type: 'boolean' },
    cases: { type: 'string', default: join(interop, 'cases/index.mjs') },
  },
};

/** What was typed; an option that does not exist ends the run with 2. */
function typed() {
  try {
    return parseArgs(ARGUMENTS);
  } catch (error) {
    console.error(error.message);
    process.exit(2);
  }
}

/** The file by which words.sh knows the cases before anything is installed; false when it names others. */
function keepList(file, write) {
  const text = allCases.map(({ name, about }) => `${name.padEnd(24)} ${about}\n`).join('');
  if (write) writeFileSync(file, text);
  return existsSync(file) && readFileSync(file, 'utf8') === text;
}

async function readArguments() {
  const { values, positionals } = typed();
  ({ allCases } = await import(pathToFileURL(resolve(values.cases))));
  if (values.build) process.env.PARLEY_BUILD = resolve(values.build);
  const unknown = positionals.filter((name) => !chosenBy(name).length);
  if (unknown.length) {
    console.error(`no case ${unknown.map((name) => `'${name}'`).join(', ')}; --list names them`);
    process.exit(2);
  }
  const cases = positionals.length ? [...new Set(positionals.flatMap(chosenBy))] : allCases;
  return { ...values, list: join(dirname(resolve(values.cases)), 'list'), cases };
}

/** A name chooses its case; a name that ends in a dash chooses all that begin so. */
function chosenBy(name) {
  return allCases.filter((each) => each.name === name || (name.endsWith('-') && each.name.startsWith(name)));
}

async function runCase(each, dir) {
  const context = new Context(dir);
  const began = Date.now();
  const done = (result, reason = '') => ({ name: each.name, result, seconds: (Date.now() - began) / 1000, reason });
  try {
    context.need(...(each.needs ?? []));
    await within(each.ms ?? DEFAULT_CASE_MS, `case ${each.name} to end`, each.run(context));
    return done('passed');
  } catch (error) {
    if (error instanceof Skip) return done('skipped', error.message);
    return done('failed', String(error?.stack ?? error));
  } finally {
    await context.cleanUp();
  }
}

function firstLine(text) {
  return text.split('\n')[0].replace(/^\w*Error: /, '');
}

function printTable(rows) {
  const width = Math.max(...rows.map((row) => row.name.length), 4);
  console.log(`\n${'case'.padEnd(width)}  result   seconds  reason`);
  for (const { name, result, seconds, reason } of rows)
    console.log(`${name.padEnd(width)}  ${result.padEnd(7)}  ${seconds.toFixed(1).padStart(7)}  ${firstLine(reason)}`);
  const count = (result) => rows.filter((row) => row.result === result).length;
  console.log(`\n${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped`);
}

function exitCode(rows, strict) {
  const skipped = rows.filter((row) => row.result === 'skipped').length;
  if (rows.some((row) => row.result === 'failed') || (strict && skipped)) return 1;
  return skipped === rows.length ? 77 : 0;
}

async function main() {
  const options = await readArguments();
  if (!keepList(options.list, options['write-list'])) {
    console.error(`${relative(root, options.list)} is not current: run again with --write-list`);
    return 1;
  }
  if (options['write-list']) return 0;
  const top = mkdtempSync(join(tmpdir(), 'parley-interop-'));
  const rows = [];
  for (const each of options.cases) {
    const dir = join(top, each.name);
    mkdirSync(dir);
    const row = await runCase(each, dir);
    console.log(`${row.result}: ${row.name} (${row.seconds.toFixed(1)} s)`);
    if (row.result === 'failed') console.log(`${row.reason}\n  files: ${dir}`);
    else if (!options.keep) rmSync(dir, { recursive: true, force: true });
    rows.push(row);
  }
  if (!options.keep && !rows.some((row) => row.result === 'failed')) rmSync(top, { recursive: true, force: true });
  printTable(rows);
  if (options.json) writeFileSync(options.json, JSON.stringify(rows, null, 2) + '\n');
  return exitCode(rows, options.strict);
}

process.on('unhandledRejection', (error) => {
  // A wait that nobody awaits any more, because its case failed first.
  if (process.env.INTEROP_DEBUG) console.error('unhandled', error);
});
process.exit(await main());
