// TLS for the tests: a certificate authority of our own, with certificates that are good and that are wrong.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const DAY_MS = 86_400_000;

function openssl(...args) {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** 20260102030405Z, as `openssl ca` wants it. */
function stamp(ms) {
  return new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14) + 'Z';
}

export class Authority {
  constructor(dir, name) {
    this.dir = join(dir, name);
    mkdirSync(join(this.dir, 'issued'), { recursive: true });
    this.cert = join(this.dir, 'ca.pem');
    this.key = join(this.dir, 'ca.key');
    writeFileSync(join(this.dir, 'index.txt'), '');
    writeFileSync(join(this.dir, 'ca.cnf'), this.#config());
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', this.key);
    openssl('req', '-x509', '-new', '-key', this.key, '-out', this.cert, '-days', '30', '-subj', `/CN=${name}`,
      '-config', join(this.dir, 'ca.cnf'), '-extensions', 'v3_ca');
  }

  #config() {
    return `
[req]
distinguished_name = dn
[dn]
[v3_ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[ca]
default_ca = here
[here]
database = ${this.dir}/index.txt
new_certs_dir = ${this.dir}/issued
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = supplied
`;
  }

  /** A server certificate for `names` (DNS names or IPv4 addresses), valid from `from` to `to` (ms since 1970). */
  issue(label, names, { from = Date.now() - DAY_MS, to = Date.now() + 30 * DAY_MS } = {}) {
    const file = (ending) => join(this.dir, `${label}.${ending}`);
    const alternatives = names.map((name) => (/^[\d.]+$/.test(name) ? `IP:${name}` : `DNS:${name}`)).join(',');
    writeFileSync(file('ext'), `basicConstraints = CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = ${alternatives}
`);
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', file('key'));
    openssl('req', '-new', '-key', file('key'), '-out', file('csr'), '-subj', `/CN=${names[0]}`,
      '-config', join(this.dir, 'ca.cnf'));
    openssl('ca', '-batch', '-notext', '-config', join(this.dir, 'ca.cnf'), '-cert', this.cert, '-keyfile', this.key,
      '-in', file('csr'), '-out', file('pem'), '-extfile', file('ext'),
      '-startdate', stamp(from), '-enddate', stamp(to));
    return { cert: file('pem'), key: file('key'), name: names[0], ca: this.cert };
  }
}

/** The certificates of the refusals: each has the fault of its name, `good` has none. */
export function makeCertificates(dir) {
  const trusted = new Authority(dir, 'trusted');
  const stranger = new Authority(dir, 'stranger');
  const here = ['localhost', '127.0.0.1'];
  return {
    ca: trusted.cert,
    issue: (name) => trusted.issue(name, [name]),
    good: trusted.issue('good', here),
    // The client dials localhost, whatever the certificate is made out to.
    wrongName: { ...trusted.issue('wrong-name', ['elsewhere.invalid']), name: 'localhost' },
    expired: trusted.issue('expired', here, { from: Date.now() - 10 * DAY_MS, to: Date.now() - DAY_MS }),
    untrusted: stranger.issue('untrusted', here),
  };
}
