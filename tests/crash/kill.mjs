// kill -9 of parleyd, round after round, or a resource that fails: see `run`.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { program } from '../interop/lib/process.mjs';
import { pause } from '../interop/lib/wait.mjs';
import { Cuts } from './cuts.mjs';
import { Desk } from './desk.mjs';
import { Stream } from './door.mjs';
import { Judge } from './judge.mjs';
import { RESOURCES, tryResource } from './resource.mjs';
import { Traffic, between } from './traffic.mjs';
import { World } from './world.mjs';

const SUBSCRIBERS = 2;

function options() {
  const text = { type: 'string' };
  const { values } = parseArgs({ options: { rounds: { ...text, default: '200' }, patience: { ...text, default: '40' }, resource: text, build: text, keep: { type: 'boolean' } } });
  process.env.PARLEY_BUILD = resolve(values.build ?? join(import.meta.dirname, '../../build/release'));
  if (values.resource && !RESOURCES.includes(values.resource)) {
    console.error(`tests/crash/run: --resource wants one of ${RESOURCES.join(', ')}`);
    process.exit(2);
  }
  return { ...values, rounds: Number(values.rounds), patience: Number(values.patience) };
}

/** Rounds until the last one or the first broken promise. */
async function rounds(world, traffic, desk, judge, { cuts, newcomer }, count) {
  for (let round = 1; round <= count; round++) {
    let over = false;
    await world.prepare(round);
    cuts.begin(judge.log);
    newcomer.renew();
    traffic.resume();
    const asking = [desk.askUntil(() => over), judge.follow(() => over)];
    await pause(between(50, 1200));
    await world.kill(round);
    traffic.pause();
    over = true;
    await Promise.all(asking);
    if (!(await judge.round())) return round;
    if (round % 10 === 0) console.log(`round ${round}: ${judge.log.length} events, no promise broken`);
  }
  await judge.end();
  return count;
}

async function run() {
  const world = new World(dir, { faults: process.env.PARLEY_FAULTS });
  await world.open();
  const streams = Array.from({ length: SUBSCRIBERS }, () => new Stream(world.door));
  const traffic = new Traffic(world);
  const newcomer = new Stream(world.door, { isNew: true });
  streams.push(newcomer);
  const desk = new Desk(world, { pairs: true });
  const cuts = new Cuts(world, new Stream(world.door, { isResting: true }));
  const judge = new Judge(world, traffic, desk, streams, patience, cuts);
  traffic.begin();
  const done = await rounds(world, traffic, desk, judge, { cuts, newcomer }, count);
  [...streams, cuts.straggler].forEach((stream) => stream.close());
  await world.close();
  execFileSync(program('parleyctl'), ['check', world.parleyd.data], { stdio: ['ignore', 'ignore', 'inherit'] });
  console.log(`rounds ${done} (${world.placed} kills where they were placed, ${world.aborted} aborts), messages ${traffic.inbound.size} in and ${traffic.outbound.size} out, events ${judge.log.length}, `
    + `resumptions ${streams.reduce((sum, { resumed }) => sum + resumed, 0)}, losses ${judge.losses}, doubles ${judge.doubles}`);
  console.log(`readings ${traffic.readings.size}, keys ${desk.keys.length}, sessions ${desk.sessions.length}, subscriptions ${desk.subscriptions.length}`);
  if (judge.broken.length === 0) console.log(`${desk.summary(done)}; ${cuts.summary(done)}`);
  if (traffic.inbound.size === 0 || traffic.outbound.size === 0) throw new Error('there was no traffic to judge');
  if (done === count && !world.aborted) throw new Error('no round ended with an abort');
  return judge.broken.length === 0;
}

const { rounds: count, patience, resource, keep } = options();
const preload = join(process.env.PARLEY_BUILD, 'tests/crash/libcrash_disk.so');
for (const name of ['parleyd', 'parley-sim', 'parleyctl'])
  if (!program(name)) {
    console.log(`${name} is not built`);
    process.exit(77);
  }
const dir = mkdtempSync(join(tmpdir(), 'parley-crash-'));
let good = false;
try {
  good = await (resource ? tryResource(resource, dir, patience, preload) : run());
} catch (error) {
  console.log(`BROKEN: ${error.stack}`);
}
const planted = Boolean(process.env.PARLEY_FAULTS); // nobody looks into what a planted fault left
if ((good || planted) && !keep) rmSync(dir, { recursive: true, force: true });
else console.log(`files: ${dir}`);
process.exit(good ? 0 : 1);
