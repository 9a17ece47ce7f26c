// What becomes of a pod's address, whichever call of whichever plugin fails. The plugins are scripts that keep addresses as
// files, so that a leak is a file that is left.
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { PodSandboxConfig } from '../api/generated/runtime.v1.ts';
import { createLogger } from '../log/index.ts';
import { PodNetworks } from './pod-network.ts';

const POD = PodSandboxConfig.create({
  metadata: { name: 'web', namespace: 'default', uid: 'u', attempt: 0 },
  portMappings: [{ protocol: 0, containerPort: 80, hostPort: 8080, hostIp: '' }],
});
const NEVER = new AbortController().signal;
const NETNS = '/run/netns/test';

describe('PodNetworks', () => {
  it('puts namespaces into /run/netns, or where it is told to', () => {
    const pathIn = (directory: string | undefined): string => {
      const config = { binDirs: [], confDir: '/none', maxConfNum: 1, ipPreference: 'cni' as const };
      const log = createLogger({ level: 'fatal', name: 'test' });
      return new PodNetworks(config, '/none', log, undefined, directory).newNamespacePath();
    };
    const name = /cni-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
    assert.match(pathIn(undefined), new RegExp(`^/run/netns/${name.source}`));
    assert.match(pathIn('/state/netns'), new RegExp(`^/state/netns/${name.source}`));
  });

  let directory = '';
  let networks: PodNetworks;
  const at = (...names: string[]): string => join(directory, ...names);

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'cni-'));
    for (const name of ['bin', 'net.d', 'taken']) mkdirSync(at(name));
    networks = open();
    plugin('first', '1');
    plugin('second', '2');
    writeFileSync(at('net.d', '10-pods.conflist'), conflist('pods'));
  });
  afterEach(() => {
    networks.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const open = (ipPreference: 'ipv4' | 'ipv6' | 'cni' = 'ipv4'): PodNetworks =>
    new PodNetworks(
      { binDirs: [at('bin')], confDir: at('net.d'), maxConfNum: 1, ipPreference },
      at('records'),
      createLogger({ level: 'fatal', name: 'test' }),
      10_000,
    );
  const conflist = (name: string, cniVersion = '1.0.0'): string =>
    JSON.stringify({
      cniVersion,
      name,
      plugins: [{ type: 'first' }, { type: 'second', capabilities: { portMappings: true } }],
    });
  /** Keeps `taken/NAME`; writes each call with its configuration down; does what `fail-COMMAND-NAME` says first. */
  const plugin = (name: string, address: string): void => {
    const script = `#!/bin/sh
config=$(cat)
echo "$CNI_COMMAND ${name}" >>${at('calls')}
printf '%s' "$config" >${at('')}/$CNI_COMMAND-${name}.json
ls ${at('records')} >${at('')}/$CNI_COMMAND-${name}.records 2>/dev/null
fault=${at('')}/fail-$CNI_COMMAND-${name}
if [ -e $fault ]; then . $fault; fi
case $CNI_COMMAND in
ADD) touch ${at('taken')}/${name}
  echo '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.${address}/24"}]}' ;;
DEL) rm -f ${at('taken')}/${name} ;;
esac
`;
    writeFileSync(at('bin', name), script, { mode: 0o755 });
  };
  const fail = (call: string, how = `echo '{"code":1,"msg":"broken"}'; exit 1`): void =>
    writeFileSync(at(`fail-${call}`), how);
  const mend = (call: string): void => rmSync(at(`fail-${call}`));
  const calls = (): string[] => readFileSync(at('calls'), 'utf8').trim().split('\n');
  const taken = (): string[] => readdirSync(at('taken'));
  const records = (): string[] => (existsSync(at('records')) ? readdirSync(at('records')) : []);
  const config = (call: string): Record<string, unknown> =>
    JSON.parse(readFileSync(at(`${call}.json`), 'utf8'));
  const attach = (id = 'pod') => networks.attach(id, POD, NETNS, NEVER);

  it('attaches through the chain and gives back in reverse, with the result', async () => {
    assert.deepEqual((await attach()).ips, ['10.0.0.2']);
    assert.deepEqual(config('ADD-second')['runtimeConfig'], {
      portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
    });
    assert.deepEqual(readFileSync(at('ADD-first.records'), 'utf8'), 'pod@eth0.json\n');
    await networks.detach('pod');
    assert.deepEqual(calls(), ['ADD first', 'ADD second', 'DEL second', 'DEL first']);
    const result = { cniVersion: '1.0.0', ips: [{ address: '10.0.0.2/24' }] };
    assert.deepEqual(config('DEL-first')['prevResult'], result);
    assert.deepEqual([taken(), records()], [[], []]);
    await networks.detach('pod');
    assert.equal(calls().length, 4);
  });

  for (const [preference, expected] of [
    ['ipv4', ['10.0.0.3', 'fd00::2', 'fd00::1']],
    ['ipv6', ['fd00::2', '10.0.0.3', 'fd00::1']],
    ['cni', ['fd00::2', '10.0.0.3', 'fd00::1']],
  ] as const) {
    it(`ip_pref ${preference}: which of several addresses comes first`, async () => {
      const ips = '[{"address":"fd00::2/64"},{"address":"10.0.0.3/24"},{"address":"fd00::1/64"}]';
      fail('ADD-second', `echo '{"cniVersion":"1.0.0","ips":${ips}}'; exit 0`);
      networks = open(preference);
      assert.deepEqual((await attach()).ips, expected);
    });
  }

  it('ip_pref ipv6: comes before an IPv4 address of the plugins', async () => {
    const ips = '[{"address":"10.0.0.3/24"},{"address":"fd00::2/64"}]';
    fail('ADD-second', `echo '{"cniVersion":"1.0.0","ips":${ips}}'; exit 0`);
    networks = open('ipv6');
    assert.deepEqual((await attach()).ips, ['fd00::2', '10.0.0.3']);
  });

  it('the networks of a runtime are those of its directory, as many as it says', async () => {
    mkdirSync(at('other.d'));
    for (const name of ['1', '2', '3']) {
      writeFileSync(at('other.d', `${name}.conflist`), conflist(`other-${name}`));
    }
    const directory = { confDir: at('other.d'), maxConfNum: 2 };
    await networks.attach('pod', POD, NETNS, NEVER, directory);
    assert.deepEqual(records().sort(), ['pod@eth0.json', 'pod@eth1.json']);
    assert.equal(config('ADD-first')['name'], 'other-2');
    networks = open(); // as after a restart
    await networks.detach('pod');
    assert.equal(config('DEL-first')['name'], 'other-1');
    assert.deepEqual(records(), []);
  });

  const changes: [name: string, change: () => void][] = [
    ['renamed', () => writeFileSync(at('net.d', '10-pods.conflist'), conflist('other'))],
    ['removed', () => rmSync(at('net.d', '10-pods.conflist'))],
    ['broken', () => writeFileSync(at('net.d', '10-pods.conflist'), '{')],
    ['preceded by another', () => writeFileSync(at('net.d', '00-new.conflist'), conflist('new'))],
  ];
  for (const [name, change] of changes) {
    it(`gives an address back to the network that gave it, which was ${name} since`, async () => {
      await attach();
      change();
      networks = open(); // as after a restart
      await networks.detach('pod');
      assert.equal(config('DEL-first')['name'], 'pods');
      assert.deepEqual([taken(), records()], [[], []]);
    });
  }

  it('a pod without a network is detached without one', async () => {
    rmSync(at('net.d'), { recursive: true });
    await networks.detach('pod');
  });

  for (const how of [
    `echo '{"code":1,"msg":"broken"}'; exit 1`,
    'echo broken >&2; touch "$TAKEN"; exit 1',
    'kill -9 $$',
  ]) {
    it(`what a failed chain has taken is given back: ${how}`, async () => {
      fail('ADD-second', how.replace('"$TAKEN"', at('taken', 'second')));
      await assert.rejects(attach(), /^TsError: CNI plugin second ADD: (broken|signal SIGKILL)$/);
      assert.deepEqual(records(), ['pod@eth0.json']);
      await networks.detach('pod');
      assert.deepEqual(calls(), ['ADD first', 'ADD second', 'DEL second', 'DEL first']);
      assert.deepEqual([taken(), records()], [[], []]);
    });
  }

  it('asks every plugin although one fails, and tries again until all have done it', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    await attach();
    fail('DEL-second');
    fail('DEL-first', 'exit 9');
    await assert.rejects(networks.detach('pod'), (error: Error & { cleanup: Error[] }) => {
      assert.equal(error.message, 'CNI plugin second DEL: broken');
      assert.deepEqual(
        error.cleanup.map(({ message }) => message),
        ['CNI plugin first DEL: exit code 9'],
      );
      return true;
    });
    assert.deepEqual(records(), ['pod@eth0.json']);
    mend('DEL-second');
    mend('DEL-first');
    t.mock.timers.tick(5000);
    t.mock.timers.reset();
    while (records().length > 0) await new Promise(setImmediate);
    assert.deepEqual(taken(), []);
  });

  it('finds after a restart what belongs to no pod', async () => {
    await attach('gone');
    await attach('lives');
    networks = open();
    assert.deepEqual(await networks.withoutPod(['lives']), ['gone']);
    await networks.release('gone');
    assert.deepEqual(records(), ['lives@eth0.json']);
  });

  it('asks with the result of ADD whether a network is as it was', async () => {
    await attach();
    await networks.check('pod');
    assert.deepEqual(calls().slice(2), ['CHECK first', 'CHECK second']);
    assert.deepEqual(config('CHECK-first')['prevResult'], {
      cniVersion: '1.0.0',
      ips: [{ address: '10.0.0.2/24' }],
    });
    fail('CHECK-second');
    await assert.rejects(networks.check('pod'), { message: 'CNI plugin second CHECK: broken' });
  });

  it('a record that cannot be read is told with what to do', async () => {
    await attach();
    writeFileSync(at('records', 'pod@eth0.json'), '{"network"');
    await assert.rejects(networks.detach('pod'), {
      kind: 'DataLoss',
      message: `read ${at('records', 'pod@eth0.json')}: not a record of a pod's network`,
    });
  });

  const obstacles: [name: string, change: () => void, expected: string | undefined][] = [
    ['a network is there', () => undefined, undefined],
    [
      'there is none',
      () => rmSync(at('net.d', '10-pods.conflist')),
      'no network config found in NETD',
    ],
    [
      'it is not JSON',
      () => writeFileSync(at('net.d', '10-pods.conflist'), 'x'),
      `CNI config NETD/10-pods.conflist: not JSON: Unexpected token 'x', "x" is not valid JSON`,
    ],
    [
      'a plugin has no type',
      () =>
        writeFileSync(
          at('net.d', '10-pods.conflist'),
          '{"name":"a","plugins":[{"type":"first"},{}]}',
        ),
      'CNI config NETD/10-pods.conflist: plugins[1].type: missing',
    ],
    [
      'a plugin of version 1.1 cannot serve',
      () => {
        writeFileSync(at('net.d', '10-pods.conflist'), conflist('pods', '1.1.0'));
        fail('STATUS-second');
      },
      'CNI plugin second STATUS: broken',
    ],
    ['a plugin of version 1.0 is not asked', () => fail('STATUS-second'), undefined],
  ];
  for (const [name, change, expected] of obstacles) {
    it(`whether pods can have a network: ${name}`, async () => {
      change();
      const obstacle = await networks.obstacle();
      assert.equal(obstacle?.message.replace(at('net.d'), 'NETD'), expected);
    });
  }
});
