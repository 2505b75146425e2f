// A few seconds of traffic with the journal of every write: record.mjs BUILD FOLDER SECONDS.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pause, until } from '../interop/lib/wait.mjs';
import { Desk } from './desk.mjs';
import { Stream } from './door.mjs';
import { Traffic } from './traffic.mjs';
import { World } from './world.mjs';

const [build, dir, seconds] = process.argv.slice(2);
process.env.PARLEY_BUILD = resolve(build);
const env = {
  LD_PRELOAD: join(process.env.PARLEY_BUILD, 'tests/crash/libcrash_journal.so'),
  PARLEY_JOURNAL: join(dir, 'journal'),
  PARLEY_FAULTS: process.env.PARLEY_FAULTS ?? '',
};

async function run() {
  const world = new World(dir, { env });
  await world.open();
  const traffic = new Traffic(world);
  const desk = new Desk(world);
  const stream = new Stream(world.door);
  let over = false;
  traffic.begin();
  // The second half is written by a process that found the data of the first.
  for (let half = 1; half <= 2; half++) {
    traffic.resume();
    over = false;
    const desking = desk.askUntil(() => over);
    await pause(Number(seconds) * 500);
    traffic.pause();
    over = true;
    await desking;
    await until(20_000, 'the traffic to end', () => world.hasEnded || traffic.isStill);
    world.check();
    await pause(500);
    await world.parleyd.kill();
    if (half === 1) await world.parleyd.start();
  }
  stream.close();
  console.log(`recorded ${traffic.inbound.size} messages in and ${traffic.outbound.size} out, ${desk.keys.length} keys, `
    + `${desk.sessions.length} sessions, ${stream.events.length} events shown`);
}

// Who plants a fault may find the server ended by it; what it wrote until then is judged all the same.
await run().catch((error) => console.log(`the run ended early: ${error.message.split('\n')[0]}`));
process.exit(existsSync(env.PARLEY_JOURNAL) ? 0 : 1);
