// tsrunc: linux.netDevices. A network namespace of the test's own stands for the host's: tsrunc runs in it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { after, test } from 'node:test';
import {
  type Config,
  needsRoot,
  RuntimeFixture,
  tsruncCommand,
} from '../fixtures/runtime-bundle.ts';
import { until } from '../fixtures/shim.ts';
import { peer } from '../peers/index.ts';

const ip = ['/usr/sbin/ip', '/sbin/ip', '/usr/bin/ip'].find((path) => existsSync(path));
const name = `tsrunc-${process.pid}`;
const skip = needsRoot || (ip === undefined ? 'no ip (package iproute2)' : makeHost());
// Not `ip netns exec`, which mounts another /sys.
const inHost = ['nsenter', `--net=/run/netns/${name}`];
const fixture = skip === false ? new RuntimeFixture([...inHost, ...tsruncCommand()]) : undefined;
after(() => {
  fixture?.[Symbol.dispose]();
  spawnSync(`${ip}`, ['netns', 'delete', name]);
});
const runtime = fixture as RuntimeFixture;
const options = { skip };

/** Why there can be no host with a pair of interfaces, or false. */
function makeHost(): string | false {
  const { status, stderr } = spawnSync(`${ip}`, ['netns', 'add', name], { encoding: 'utf8' });
  return status === 0 ? false : `no network namespace: ${stderr.trim()}`;
}

/** Runs ip(8) in the host. */
function host(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(`${ip}`, ['-n', name, ...args], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  return stdout;
}

/** Two interfaces, `here` and `there`, the latter with addresses. */
function makePair(): void {
  spawnSync(`${ip}`, ['-n', name, 'link', 'delete', 'here']);
  host('link', 'add', 'here', 'type', 'veth', 'peer', 'name', 'there');
  host('address', 'add', '10.1.2.3/24', 'broadcast', '10.1.2.255', 'dev', 'there');
  host('address', 'add', '10.9.9.9/32', 'dev', 'there');
  host('address', 'add', '169.254.1.1/16', 'scope', 'link', 'dev', 'there');
  host('-6', 'address', 'add', 'fd00::7/64', 'dev', 'there');
  host('link', 'set', 'there', 'mtu', '1400', 'up');
  host('link', 'set', 'here', 'up');
}

const LOOK =
  'cat /proc/net/dev /sys/class/net/$0/flags /sys/class/net/$0/mtu /proc/net/fib_trie /proc/net/if_inet6';

function look(device: string, netDevices: object, change: (config: Config) => void = () => {}) {
  runtime.configure((config) => {
    config.process.args = ['sh', '-c', LOOK, device];
    config.linux.netDevices = netDevices;
    change(config);
  });
  const id = runtime.newId();
  return { id, ...runtime.run(['run', id]) };
}

test('an interface moves with its global addresses, and is up', options, async () => {
  makePair();
  const { stdout, error, stderr } = look('there', { there: {} });
  assert.equal(error, '', stderr);
  const lines = stdout.split('\n').map((line) => line.trim());
  assert.match(stdout, /^ *there:/m);
  assert.equal(Number(lines.find((line) => line.startsWith('0x'))) & 1, 1, 'it is up');
  assert.ok(lines.includes('1400'), 'its MTU stays');
  for (const address of ['10.1.2.3', '10.1.2.255', '10.9.9.9']) {
    assert.ok(lines.includes(`|-- ${address}`), stdout);
  }
  assert.ok(!stdout.includes('169.254.1.1'), 'what is of the link alone does not');
  assert.match(stdout, /^fd000000000000000000000000000007 .* there$/m);
  // A network namespace ends some time after its last process.
  await until(() => !host('-o', 'link', 'show').includes('here'), 'the pair to go with it');
});

test('an interface gets another name inside', options, () => {
  makePair();
  const { stdout, error } = look('eth0', { there: { name: 'eth0' } });
  assert.equal(error, '');
  assert.match(stdout, /^ *eth0:/m);
  assert.match(stdout, /10\.1\.2\.3/);
});

test('into a network namespace of a user namespace', options, () => {
  makePair();
  const { stdout, error } = look('there', { there: {} }, (config) => {
    const mapping = [{ containerID: 0, hostID: 100000, size: 65536 }];
    config.linux.namespaces.push({ type: 'user' });
    config.linux.uidMappings = mapping;
    config.linux.gidMappings = mapping;
  });
  assert.equal(error, '');
  assert.match(stdout, /10\.1\.2\.3/);
});

test('if the container cannot be made, the interface comes back as it was', options, () => {
  makePair();
  const { id, status, error } = look('eth0', { there: { name: 'eth0' } }, ({ process }) => {
    process.args = ['/no/such/program'];
  });
  assert.equal(status, 1);
  assert.equal(
    error,
    'exec: "/no/such/program": stat /no/such/program: ENOENT (no such file or directory)',
  );
  assert.match(host('-o', 'address', 'show', 'dev', 'there'), /10\.1\.2\.3\/24/);
  assert.match(host('-o', 'link', 'show', 'dev', 'there'), /[<,]UP[,>]/);
  assert.deepEqual(runtime.leftovers(id), []);
});

const REFUSED: [string, object, string][] = [
  [
    'an interface that is not there',
    { nope: {} },
    'config.json: linux.netDevices["nope"]: there is no network interface nope',
  ],
  [
    'a name that is taken inside',
    { there: { name: 'lo' } },
    'config.json: linux.netDevices["there"]: the container\'s network namespace has an interface lo',
  ],
  [
    'one name for two',
    { here: { name: 'x' }, there: { name: 'x' } },
    'config.json: linux.netDevices["there"].name: "x" is another device\'s name',
  ],
];
for (const [what, devices, message] of REFUSED) {
  test(`refused: ${what}`, options, () => {
    makePair();
    const { id, status, error } = look('lo', devices);
    assert.deepEqual({ status, error }, { status: 1, error: message });
    assert.deepEqual(runtime.leftovers(id), []);
    host('link', 'show', 'dev', 'there');
  });
}

test("refused: without a network namespace, and in the host's own", options, () => {
  makePair();
  const without = look('lo', { there: {} }, ({ linux }) => {
    linux.namespaces = linux.namespaces.filter(({ type }: Config) => type !== 'network');
  });
  assert.equal(
    without.error,
    'config.json: linux.netDevices: cannot be set without a network namespace: add {"type": "network"} to linux.namespaces',
  );
  const path = `/run/netns/${name}`;
  const own = look('lo', { there: {} }, ({ linux }) => {
    linux.namespaces.find(({ type }: Config) => type === 'network').path = path;
  });
  assert.equal(
    own.error,
    `config.json: linux.netDevices: would change the host, whose network namespace ${path} is`,
  );
});

const crun = peer('crun');
/** Without counters, and without what is of the pair alone: indexes, and addresses that come from its hardware's. */
const SEEN = `cat /sys/class/net/eth0/flags /sys/class/net/eth0/mtu; cut -d: -f1 /proc/net/dev
cut -d' ' -f1,3- /proc/net/if_inet6 | grep -v ^fe80 | sort; cut -f1-4,8 /proc/net/route; cat /proc/net/fib_trie`;

for (const inExec of [false, true]) {
  // runc 1.3 has no network devices: 1.4 does.
  test(`twins with crun: an interface with another name inside, seen ${inExec ? 'in exec' : 'in run'}`, {
    skip: skip || crun.skip,
  }, () => {
    using theirs = new RuntimeFixture([...inHost, crun.path]);
    const [ours, others] = [runtime, theirs].map((each) => {
      makePair();
      const id = each.newId('twin');
      const withDevice = ({ linux }: Config) => {
        linux.netDevices = { there: { name: 'eth0' } };
      };
      if (inExec) each.startSleeping(id, withDevice);
      else {
        each.configure((config) => {
          config.process.args = ['sh', '-c', SEEN];
          withDevice(config);
        });
      }
      const { stdout, stderr, status } = each.run(
        inExec ? ['exec', id, 'sh', '-c', SEEN] : ['run', id],
      );
      if (inExec) each.run(['delete', '--force', id]);
      assert.equal(status, 0, stderr);
      return stdout;
    });
    assert.match(ours ?? '', /10\.1\.2\.3/);
    assert.equal(ours, others);
  });
}
