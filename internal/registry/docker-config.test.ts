import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { dockerConfigSource } from './docker-config.ts';
import type { Credentials } from './registry-auth.ts';

let dir: string;
const path = process.env['PATH'] ?? '';
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'docker-config-'));
  process.env['PATH'] = `${dir}:${path}`;
  const helper = (name: string, body: string): void => {
    writeFileSync(join(dir, `docker-credential-${name}`), `#!/bin/sh\nread server\n${body}\n`);
    chmodSync(join(dir, `docker-credential-${name}`), 0o755);
  };
  helper(
    'echo',
    'echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"$1 $server\\",\\"Secret\\":\\"s\\"}"',
  );
  helper('token', 'echo \'{"Username":"<token>","Secret":"refresh"}\'');
  helper('none', 'echo "credentials not found in native keychain"; exit 1');
  helper('broken', 'echo "secret stuff"; echo "no keyring\nmore" >&2; exit 3');
  helper('garbage', 'echo "secret stuff"');
});
after(() => {
  process.env['PATH'] = path;
  rmSync(dir, { recursive: true });
});

async function find(config: unknown, host: string): Promise<Credentials | undefined> {
  const file = join(dir, 'config.json');
  writeFileSync(file, typeof config === 'string' ? config : JSON.stringify(config));
  return await dockerConfigSource(file)(host, []);
}

const auth = Buffer.from('u:p').toString('base64');
const password: Credentials = { kind: 'password', username: 'u', secret: 'p' };
const hub = 'registry-1.docker.io';
const rows: [string, unknown, string, Credentials | undefined][] = [
  ['auths by host', { auths: { 'a.example:5000': { auth } } }, 'a.example:5000', password],
  ['auths by URL', { auths: { 'https://a.example/v1/': { auth } } }, 'a.example', password],
  ['auths of another port', { auths: { 'a.example': { auth } } }, 'a.example:5000', undefined],
  ['auths of Docker Hub', { auths: { 'https://index.docker.io/v1/': { auth } } }, hub, password],
  [
    'an identity token',
    { auths: { 'a.example': { identitytoken: 't' } } },
    'a.example',
    { kind: 'refresh-token', token: 't' },
  ],
  [
    'a helper for the host',
    {
      credHelpers: { 'a.example': 'echo' },
      credsStore: 'broken',
      auths: { 'a.example': { auth } },
    },
    'a.example',
    { kind: 'password', username: 'get a.example', secret: 's' },
  ],
  [
    'a helper for Docker Hub',
    { credsStore: 'echo' },
    hub,
    { kind: 'password', username: 'get https://index.docker.io/v1/', secret: 's' },
  ],
  ['a helper’s token', { credsStore: 'token' }, 'a', { kind: 'refresh-token', token: 'refresh' }],
  [
    'a helper that knows nothing',
    { credsStore: 'none', auths: { 'a.example': { auth } } },
    'a.example',
    password,
  ],
  ['an empty file', {}, 'a.example', undefined],
];
for (const [what, config, host, expected] of rows) {
  test(`config.json: ${what}`, async () => assert.deepEqual(await find(config, host), expected));
}

test('config.json: one that is not there gives nothing', async () => {
  assert.equal(await dockerConfigSource(join(dir, 'absent'))('a.example', []), undefined);
});

const wrong: [string, unknown, RegExp, string | undefined][] = [
  ['that is no JSON', '{"auths": secret', /^\/.*\/config\.json is not a JSON object$/, undefined],
  ['whose auths are a list', { auths: [] }, /config\.json: auths is not an object$/, undefined],
  [
    'whose auth is no pair',
    { auths: { a: { auth: 'secret' } } },
    /config\.json: auths\."a": auth is not base64 of USER:PASSWORD$/,
    undefined,
  ],
  [
    'with a helper’s name that leads elsewhere',
    { credsStore: '../../bin/sh' },
    /config\.json: "\.\.\/\.\.\/bin\/sh" is no name of a credential helper$/,
    undefined,
  ],
  [
    'with a helper that is not there',
    { credsStore: 'absent' },
    /^docker-credential-absent get a: ENOENT$/,
    "install docker-credential-absent on the daemon's PATH, or take it out of FILE",
  ],
  [
    'with a helper that fails',
    { credsStore: 'broken' },
    /^docker-credential-broken get a: it ended with 3: no keyring$/,
    'run it by hand, or take it out of FILE',
  ],
  [
    'with a helper that says something else',
    { credsStore: 'garbage' },
    /^docker-credential-garbage get a: its output has no Username and Secret$/,
    undefined,
  ],
];
for (const [what, config, message, advice] of wrong) {
  test(`config.json ${what}: the error shows no secret`, async () => {
    await assert.rejects(find(config, 'a'), (error: Error & { advice?: string }) => {
      assert.match(error.message, message);
      assert.equal(error.advice?.replace(join(dir, 'config.json'), 'FILE'), advice);
      assert.doesNotMatch(JSON.stringify([error.message, String(error.cause)]), /secret/);
      return true;
    });
  });
}
