import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNetwork } from './cni-config.ts';

test('parseNetwork: a list, with the capabilities that are on', () => {
  const network = parseNetwork(
    JSON.stringify({
      name: 'pods',
      cniVersion: '1.0.0',
      disableCheck: true,
      plugins: [{ type: 'bridge', mtu: 9000, capabilities: { portMappings: true, ips: false } }],
    }),
    '/etc/cni/net.d/10.conflist',
  );
  const { plugins, ...rest } = network;
  assert.deepEqual(rest, {
    name: 'pods',
    cniVersion: '1.0.0',
    disableCheck: true,
    file: '/etc/cni/net.d/10.conflist',
  });
  assert.deepEqual(
    plugins.map(({ type, capabilities, raw }) => [type, [...capabilities], raw['mtu']]),
    [['bridge', ['portMappings'], 9000]],
  );
});

test('parseNetwork: a file of one plugin is a list of one, of the oldest version if it names none', () => {
  const { name, cniVersion, plugins } = parseNetwork('{"name":"n","type":"loopback"}', 'a.conf');
  assert.deepEqual(
    [name, cniVersion, plugins.map(({ type }) => type)],
    ['n', '0.1.0', ['loopback']],
  );
});

const bad: [text: string, error: string][] = [
  ['', 'not JSON: Unexpected end of JSON input'],
  ['[]', 'not an object'],
  ['{}', 'name: missing'],
  ['{"name":7,"plugins":[]}', 'name: missing'],
  ['{"name":"../x","plugins":[{"type":"a"}]}', 'name: "../x"'],
  ['{"name":"a","cniVersion":1,"plugins":[{"type":"a"}]}', 'cniVersion: not a string'],
  ['{"name":"a"}', 'plugins: missing'],
  ['{"name":"a","plugins":[]}', 'plugins: missing'],
  ['{"name":"a","plugins":["b"]}', 'plugins[0]: not an object'],
  ['{"name":"a","plugins":[{"type":"a"},{"type":""}]}', 'plugins[1].type: missing'],
  [
    '{"name":"a","plugins":[{"type":"../../bin/sh"}]}',
    'plugins[0].type: "../../bin/sh" is no file name',
  ],
];
for (const [text, error] of bad) {
  test(`parseNetwork: ${text}: ${error}`, () => {
    assert.throws(() => parseNetwork(text, 'x.conflist'), {
      code: 'TS_CNI_CONFIG',
      message: `CNI config x.conflist: ${error}`,
    });
  });
}
