// What parleyd must refuse: certificates and Noise chains that prove nothing.
import { check, same } from '../lib/context.mjs';
import { StreamableSubscriber } from '../lib/subscribers.mjs';
import { codeIn } from '../lib/tools.mjs';
import { open } from './main.mjs';

const OTHER_ROOT = 'd0'.repeat(32);

/** Pairing never gets as far as a code, the log says why, and the server was told nothing. */
async function refused(t, label, why, simOptions, parleydOptions = {}, faults = undefined) {
  const sim = await t.sim({ ...simOptions, logName: `sim-${label}` });
  if (faults) await sim.faults(faults);
  const parleyd = await t.parleyd({ sim, logName: `parleyd-${label}`, ...parleydOptions });
  const agent = await open(t, StreamableSubscriber, { url: parleyd.url, key: parleyd.testKey }, `agent-${label}`);
  const answer = await agent.call('pair_account', {}).catch((error) => error);
  check(!codeIn(answer), `${label}: pairing went on to a code`);
  check(/not trusted to be WhatsApp/.test(JSON.stringify(answer)), `${label}: the agent is told ${JSON.stringify(answer)}`);
  check(!parleyd.child.end, `${label}: parleyd ended`);
  same((await sim.trace()).stanzas, [], `${label}: stanzas that the sim saw`);
  await agent.close();
  await parleyd.stop();
  const said = parleyd.child.tail(60);
  check(why.test(said), `${label}: the log does not say ${why}: ${said}`);
  await sim.kill();
}

async function tlsRefusals(t) {
  const { ca, good, wrongName, expired, untrusted } = t.certificates();
  await accepted(t, good);
  await Promise.all([
    refused(t, 'wrong-name', /certificate: hostname mismatch/, { tls: wrongName }, { caFile: ca }),
    refused(t, 'expired', /certificate: certificate has expired/, { tls: expired }, { caFile: ca }),
    refused(t, 'untrusted', /certificate: (unable|self)/, { tls: untrusted }, { caFile: ca }),
  ]);
}

/** The counter-proof: with nothing wrong the same steps end in a code. */
async function accepted(t, tls) {
  const sim = await t.sim({ tls, logName: 'sim-good' });
  const parleyd = await t.parleyd({ sim, logName: 'parleyd-good' });
  const agent = await open(t, StreamableSubscriber, { url: parleyd.url, key: parleyd.testKey }, 'agent-good');
  check(codeIn(await agent.call('pair_account', {})), 'a good certificate did not end in a code');
  await agent.close();
  await parleyd.stop();
  await sim.kill();
}

async function noiseRefusals(t) {
  await accepted(t);
  await Promise.all([
    refused(t, 'wrong-root', /reason=certificate/, {}, { rootKey: OTHER_ROOT }),
    refused(t, 'broken-chain', /reason=certificate/, {}, {}, { fault: 'bad_certificate', count: 1000 }),
  ]);
}

export const tlsCases = [
  {
    name: 'tls-refusals',
    about: 'a wrong name, an expired and an untrusted certificate are refused',
    needs: ['sim', 'parleyd'],
    ms: 180_000,
    run: tlsRefusals,
  },
  {
    name: 'noise-refusals',
    about: 'a wrong Noise root key and a broken certificate chain are refused',
    needs: ['sim', 'parleyd'],
    run: noiseRefusals,
  },
];
