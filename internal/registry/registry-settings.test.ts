import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Credentials } from './registry-auth.ts';
import { registryHosts } from './registry-hosts.ts';
import {
  type AuthSetting,
  credentialsOfAuth,
  credentialsOfSettings,
  NO_SETTINGS,
  type RegistrySettings,
} from './registry-settings.ts';

const mirrors = new Map([
  ['docker.io', ['https://mirror.gcr.io', 'https://registry-1.docker.io']],
  ['quay.io', ['http://127.0.0.1:5000/prefix/', 'cache.example']],
  ['*', ['https://any.example/v2']],
]);
const settings: RegistrySettings = { ...NO_SETTINGS, mirrors };

const orders: [string, string[], string[]][] = [
  [
    'docker.io',
    ['https://mirror.gcr.io/v2', 'https://registry-1.docker.io/v2'],
    ['pull,resolve', 'pull,resolve,push'],
  ],
  [
    'quay.io',
    ['http://127.0.0.1:5000/prefix', 'https://cache.example/v2', 'https://quay.io/v2'],
    ['pull,resolve', 'pull,resolve', 'pull,resolve,push'],
  ],
  [
    'other.example',
    ['https://any.example/v2', 'https://other.example/v2'],
    ['pull,resolve', 'pull,resolve,push'],
  ],
];
for (const [registry, urls, capabilities] of orders) {
  test(`registry.mirrors: ${registry}: mirrors in order, the registry last, alone for pushes`, async () => {
    const hosts = await registryHosts(registry, { hostDir: '', defaultScheme: '', settings });
    assert.deepEqual(
      hosts.map(({ baseUrl }) => baseUrl),
      urls,
    );
    assert.deepEqual(
      hosts.map((host) => [...host.capabilities].join()),
      capabilities,
    );
  });
}

test('registry.configs: tls files belong to their host, headers to all', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'settings-'));
  t.after(() => rmSync(dir, { recursive: true }));
  for (const name of ['ca', 'cert', 'key']) writeFileSync(join(dir, name), name.toUpperCase());
  const configured: RegistrySettings = {
    mirrors: new Map([['a.example', ['https://mirror.example']]]),
    configs: new Map([
      ['mirror.example', { tls: { isUnverified: true } }],
      [
        'a.example',
        {
          tls: { caFile: join(dir, 'ca'), certFile: join(dir, 'cert'), keyFile: join(dir, 'key') },
        },
      ],
    ]),
    headers: new Map([['x-meta', '1']]),
  };
  const [mirror, own] = await registryHosts('a.example', {
    hostDir: '',
    defaultScheme: '',
    settings: configured,
  });
  assert.deepEqual(mirror?.tls, { isUnverified: true, ca: [], client: undefined });
  assert.deepEqual(own?.tls, {
    isUnverified: false,
    ca: ['CA'],
    client: { cert: 'CERT', key: 'KEY' },
  });
  assert.deepEqual(
    [...(mirror?.headers ?? []), ...(own?.headers ?? [])],
    [
      ['x-meta', '1'],
      ['x-meta', '1'],
    ],
  );
});

const wrong: [string, Partial<RegistrySettings>, RegExp][] = [
  [
    'an endpoint that is no URL',
    { mirrors: new Map([['a.example', ['https://']]]) },
    /^registry\.mirrors\.a\.example: endpoint "https:\/\/" is not a URL$/,
  ],
  [
    'an endpoint of another scheme',
    { mirrors: new Map([['a.example', ['ftp://x']]]) },
    /^registry\.mirrors\.a\.example: endpoint "ftp:\/\/x" is neither http nor https$/,
  ],
  [
    'a certificate without a key',
    { configs: new Map([['a.example', { tls: { certFile: '/c' } }]]) },
    /^registry\.configs\.a\.example\.tls: cert_file and key_file need each other$/,
  ],
  [
    'a file that is not there',
    { configs: new Map([['a.example', { tls: { caFile: '/absent/ca' } }]]) },
    /^registry\.configs\.a\.example\.tls: read \/absent\/ca: ENOENT$/,
  ],
];
for (const [what, part, message] of wrong) {
  test(`registry settings: ${what} is refused`, async () => {
    const options = { hostDir: '', defaultScheme: '', settings: { ...NO_SETTINGS, ...part } };
    await assert.rejects(registryHosts('a.example', options), { message });
  });
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const auths: [string, AuthSetting, Credentials | undefined][] = [
  [
    'user and password',
    { username: 'u', password: 'p' },
    { kind: 'password', username: 'u', secret: 'p' },
  ],
  ['auth', { auth: base64('u:p:q') }, { kind: 'password', username: 'u', secret: 'p:q' }],
  [
    'auth with a zero at its end',
    { auth: base64('u:p\0') },
    { kind: 'password', username: 'u', secret: 'p' },
  ],
  [
    'an identity token',
    { identityToken: 't', username: 'u' },
    { kind: 'refresh-token', token: 't' },
  ],
  ['nothing', {}, undefined],
];
for (const [what, auth, expected] of auths) {
  test(`credentialsOfAuth: ${what}`, () =>
    assert.deepEqual(credentialsOfAuth(auth, 'x'), expected));
}

test('credentialsOfAuth: what is no pair is refused and not shown', () => {
  assert.throws(() => credentialsOfAuth({ auth: base64('secret') }, 'registry.configs.a.auth'), {
    message: 'registry.configs.a.auth: auth is not base64 of USER:PASSWORD',
  });
});

test('credentialsOfSettings: docker.io is the name of registry-1.docker.io, others of themselves', () => {
  const configs = new Map([
    ['docker.io', { auth: { username: 'hub', password: 'p' } }],
    ['a.example:5000', { auth: { username: 'a', password: 'p' } }],
  ]);
  const user = (host: string): string | undefined => {
    const found = credentialsOfSettings(host, { ...NO_SETTINGS, configs });
    return found?.kind === 'password' ? found.username : undefined;
  };
  assert.equal(user('registry-1.docker.io'), 'hub');
  assert.equal(user('a.example:5000'), 'a');
  assert.equal(user('a.example'), undefined);
});
