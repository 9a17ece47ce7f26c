import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { isLoopback } from './registry-host.ts';
import { registryHosts } from './registry-hosts.ts';

const loopback: [string, boolean][] = [
  ['localhost', true],
  ['localhost:5000', true],
  ['127.0.0.1:5000', true],
  ['127.9.8.7', true],
  ['[::1]:5000', true],
  ['localhost:443', false],
  ['localhost.example.com', false],
  ['127.0.0.1.example.com', false],
  ['10.0.0.1:5000', false],
];
for (const [host, expected] of loopback) {
  test(`isLoopback: ${host} is${expected ? '' : ' not'} this machine`, () =>
    assert.equal(isLoopback(host), expected));
}

const defaults: [string, string, string][] = [
  ['docker.io', '', 'https://registry-1.docker.io/v2'],
  ['quay.io', '', 'https://quay.io/v2'],
  ['127.0.0.1:5000', '', 'http://127.0.0.1:5000/v2'],
  ['127.0.0.1:5000', 'https', 'https://127.0.0.1:5000/v2'],
  ['quay.io', 'http', 'http://quay.io/v2'],
];
for (const [host, defaultScheme, url] of defaults) {
  test(`registryHosts: ${host} ${defaultScheme} without configuration`, async () => {
    const [found, ...more] = await registryHosts(host, { hostDir: '', defaultScheme });
    assert.equal(found?.baseUrl, url);
    assert.deepEqual(more, []);
  });
}

function hostDir(t: TestContext, files: Record<string, string>): string {
  const dir = mkdtempSync(join(tmpdir(), 'hosts-'));
  t.after(() => rmSync(dir, { recursive: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(dir, path, '..'), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
  return dir;
}

const full = `
server = "https://upstream.example"
capabilities = ["pull"]

[host."https://mirror.example:8443"]
  capabilities = ["pull", "resolve"]
  skip_verify = true
  [host."https://mirror.example:8443".header]
    x-token = "abc"
    x-list = ["a", "b"]

[host."http://plain.example/prefix"]
  override_path = true

[host."https://pem.example"]
  ca = "ca.pem"
  client = [["cert.pem", "key.pem"]]
`;

test('registryHosts: mirrors in the order of the file, the server last', async (t) => {
  const files = { 'ca.pem': 'CA', 'cert.pem': 'CERT', 'key.pem': 'KEY', 'hosts.toml': full };
  const dir = hostDir(
    t,
    Object.fromEntries(Object.entries(files).map(([name, text]) => [`reg.example/${name}`, text])),
  );
  const hosts = await registryHosts('reg.example', { hostDir: dir, defaultScheme: '' });
  assert.deepEqual(
    hosts.map(({ baseUrl }) => baseUrl),
    [
      'https://mirror.example:8443/v2',
      'http://plain.example/prefix',
      'https://pem.example/v2',
      'https://upstream.example/v2',
    ],
  );
  const [mirror, , pem, server] = hosts;
  assert.deepEqual([...(mirror?.capabilities ?? [])], ['pull', 'resolve']);
  assert.equal(mirror?.tls.isUnverified, true);
  assert.deepEqual(
    [...(mirror?.headers ?? [])],
    [
      ['x-token', 'abc'],
      ['x-list', 'a, b'],
    ],
  );
  assert.deepEqual(pem?.tls, {
    isUnverified: false,
    ca: ['CA'],
    client: { cert: 'CERT', key: 'KEY' },
  });
  assert.deepEqual([...(server?.capabilities ?? [])], ['pull']);
});

test('registryHosts: the directory with the port, then the host, then _default', async (t) => {
  const toml = (host: string): string => `server = "https://${host}"`;
  const dir = hostDir(t, {
    'a.example_5000_/hosts.toml': toml('with-port'),
    'b.example:5000/hosts.toml': toml('colon'),
    '_default/hosts.toml': toml('default'),
  });
  for (const [host, expected] of [
    ['a.example:5000', 'with-port'],
    ['b.example:5000', 'colon'],
    ['c.example', 'default'],
  ] as const) {
    const [found] = await registryHosts(host, { hostDir: dir, defaultScheme: '' });
    assert.equal(found?.baseUrl, `https://${expected}/v2`);
  }
});

const wrong: [string, RegExp][] = [
  ['server = 5', /hosts\.toml:1: server is no text$/],
  ['skip_verfy = true', /hosts\.toml:1: skip_verfy is not a key of hosts\.toml$/],
  [
    'dial_timeout = "soon"',
    /hosts\.toml:1: dial_timeout must be a duration such as "5s", not "soon"$/,
  ],
  [
    'dial_timeout = "-1s"',
    /hosts\.toml:1: dial_timeout must be a duration such as "5s", not "-1s"$/,
  ],
  [
    '\ncapabilities = ["pul"]',
    /hosts\.toml:2: capabilities has "pul", known are pull, resolve, push$/,
  ],
  ['[host."ftp://x"]', /hosts\.toml:1: ftp:\/\/x is neither http nor https$/],
  ['[host."https://x"]\nskip_verify = "yes"', /hosts\.toml:2: skip_verify is not true or false$/],
  ['ca = "absent.pem"', /hosts\.toml: read .*absent\.pem: ENOENT$/],
  ['server = ', /hosts\.toml: /],
];
for (const [toml, message] of wrong) {
  test(`registryHosts: ${JSON.stringify(toml)} is refused`, async (t) => {
    const dir = hostDir(t, { 'reg.example/hosts.toml': toml });
    await assert.rejects(registryHosts('reg.example', { hostDir: dir, defaultScheme: '' }), {
      message,
    });
  });
}
