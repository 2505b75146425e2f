// The QR page in a real browser: what it shows can be scanned, follows the codes by itself, and ends when paired.
import { openBrowser, readQr } from '../interop/lib/browser.mjs';
import { check, same } from '../interop/lib/context.mjs';
import { StreamableSubscriber } from '../interop/lib/subscribers.mjs';
import { accountOf, accountStatus, codeIn } from '../interop/lib/tools.mjs';
import { until } from '../interop/lib/wait.mjs';

const ACCOUNT = '15550004000';

/** The first code lives 60 s. */
const ROTATION_MS = 80_000;

function linkIn(answer) {
  const link = /(https?:\/\/[^\s"]+)?\/qr\/[\w-]+/.exec(JSON.stringify(answer))?.[0];
  check(link, `pair_account holds no link to a QR page: ${JSON.stringify(answer)}`);
  return link;
}

async function qrPage(t) {
  const sim = await t.sim();
  const parleyd = await t.parleyd({ sim });
  await sim.addPhone(ACCOUNT, 'Parley');
  const agent = new StreamableSubscriber({ url: parleyd.url, key: parleyd.testKey, name: 'agent' });
  t.atEnd(() => agent.close());
  await agent.connect();
  const answer = await agent.call('pair_account', {});
  const account = accountOf(answer);

  const browser = await openBrowser();
  t.atEnd(() => browser.close());
  const page = await browser.newPage();
  const troubles = [];
  page.on('pageerror', (error) => troubles.push(error.message));
  page.on('console', (message) => message.type() === 'error' && troubles.push(message.text()));
  await page.goto(new URL(linkIn(answer), parleyd.url).href);
  const shown = () => readQr(browser, page);
  const first = await until(10_000, 'a QR code on the page', shown, 250);
  same(first, codeIn(answer), 'the code on the page');

  // Nobody touches the page: it has to follow the rotation of the codes.
  const second = await until(ROTATION_MS, 'the page to show the next code', async () => {
    const code = await shown();
    return code && code !== first && code;
  }, 1000);
  same(codeIn(await agent.call('pair_account', { account_id: account })), second, 'the code after the rotation');

  const other = await browser.newPage();
  await other.goto(`${parleyd.url}/qr`);
  same(await until(10_000, 'a QR code at /qr', () => readQr(browser, other), 250), second, 'the code at /qr');

  await sim.scan(ACCOUNT, second);
  await accountStatus(agent, account, 'connected');
  await until(10_000, 'the page to say that it is connected', async () => /connected/i.test(await page.innerText('body')), 250);
  same(await shown(), undefined, 'a code on the page after pairing');
  same(troubles, [], 'troubles of the page');
}

export const allCases = [
  {
    name: 'browser-qr',
    about: 'the QR page can be scanned, refreshes itself and says when the account is connected',
    needs: ['sim', 'parleyd', 'chromium'],
    ms: 180_000,
    run: qrPage,
  },
];
