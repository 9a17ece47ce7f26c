// Attacks by config.json itself: documents that are too deep or too long, keys that are no keys, numbers that wrap, values
// with a second line in them. Each must be refused by name or be harmless; the runtime must not crash, nothing is left.
import assert from 'node:assert/strict';
import { readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import {
  type Config,
  needsRoot,
  type Outcome,
  RuntimeFixture,
} from '../fixtures/runtime-bundle.ts';

const made = needsRoot ? undefined : new RuntimeFixture();
after(() => made?.[Symbol.dispose]());

function fixture(): RuntimeFixture {
  assert.ok(made);
  return made;
}

/** Runs the bundle as it is. */
function run(): Outcome {
  const id = fixture().newId('attack');
  const outcome = fixture().run(['run', '--bundle', fixture().bundle, id]);
  assert.deepEqual(fixture().leftovers(id), []);
  return outcome;
}

function refused(change: (config: Config) => void, expected: RegExp): void {
  fixture().configure(change);
  const { status, error } = run();
  assert.equal(status, 1);
  assert.match(error, expected);
}

test('a document nested a million deep is refused, not a crash', { skip: needsRoot }, () => {
  const file = join(fixture().bundle, 'config.json');
  for (const text of [
    '['.repeat(1e6),
    `{"a":${'['.repeat(1e6)}1234567890123456789${']'.repeat(1e6)}}`,
  ]) {
    writeFileSync(file, text);
    const { status, error } = run();
    assert.equal(status, 1, error);
    assert.match(error, /config\.json: (not JSON: |ociVersion: is required)/);
  }
});

test('__proto__, constructor and the like are only names', { skip: needsRoot }, () => {
  const config = fixture().configure((changed) => {
    changed.process.args = ['sh', '-c', 'env; echo end'];
    changed.process.env = ['__proto__=a', 'constructor=b', 'toString=c', 'PATH=/bin'];
  });
  const names = '{"__proto__":"x","constructor":"y","hasOwnProperty":"z"}';
  const text = JSON.stringify({ ...config, annotations: 'NAMES' }).replace('"NAMES"', names);
  writeFileSync(
    join(fixture().bundle, 'config.json'),
    text.replace('{', '{"__proto__":{"root":{}},'),
  );
  const { status, stdout, error } = run();
  assert.equal(status, 0, error);
  for (const line of ['__proto__=a', 'constructor=b', 'toString=c', 'end']) {
    assert.ok(stdout.split('\n').includes(line), `${line} in ${stdout}`);
  }
});

test('__proto__ as a sysctl, a cgroup file or a device of a map', { skip: needsRoot }, () => {
  const withKey = (property: string, value: string): void => {
    const config = fixture().configure();
    const text = JSON.stringify(config);
    const inner = text.replace(
      '"linux":{',
      `"linux":{${property.replace('%', `{"__proto__":${value}}`)},`,
    );
    writeFileSync(join(fixture().bundle, 'config.json'), inner);
  };
  withKey('"sysctl":%', '"1"');
  assert.match(
    run().error,
    /linux\.sysctl\["__proto__"\]: is not of a namespace|linux\.sysctl\.__proto__/,
  );
  withKey('"netDevices":%', '{"name":"a/b"}');
  assert.match(
    run().error,
    /linux\.netDevices\.__proto__\.name: "a\/b" is not a network device name/,
  );
});

test('numbers that would wrap or be rounded', { skip: needsRoot }, () => {
  const replace = (json: string) => {
    const config = fixture().configure((changed) => {
      changed.linux.resources.memory = 'MEMORY';
    });
    const text = JSON.stringify(config).replace('"MEMORY"', json);
    writeFileSync(join(fixture().bundle, 'config.json'), text);
    return run().error;
  };
  assert.match(
    replace('{"limit":18446744073709551616}'),
    /memory\.limit: 18446744073709551616 is not between/,
  );
  assert.match(
    replace('{"limit":9223372036854775808}'),
    /memory\.limit: 9223372036854775808 is not between/,
  );
  assert.match(replace('{"limit":1e300}'), /memory\.limit: 1e\+300 is not an integer/);
  assert.match(replace('{"limit":0.5}'), /memory\.limit: 0\.5 is not an integer/);
  assert.match(replace('{"limit":"1000"}'), /memory\.limit: must be an integer, not a string/);
});

test('update --resources: numbers that would wrap or be rounded change nothing', {
  skip: needsRoot,
}, () => {
  const id = fixture().newId('update');
  fixture().startSleeping(id, ({ linux }) => {
    linux.resources.pids = { limit: 44 };
  });
  for (const number of ['18446744073709551616', '9223372036854775808', '1e300', '0.5', '"7"']) {
    const input = `{"pids":{"limit":33},"memory":{"limit":${number}}}`;
    const { status, error } = fixture().run(['update', '--resources', '-', id], { input });
    assert.equal(status, 1);
    assert.match(error, /memory\.limit: (?:[\w+.]+ is not|must be)/);
    const { data } = JSON.parse(fixture().run(['events', '--stats', id]).stdout);
    assert.equal(data.pids.limit, 44);
  }
  fixture().run(['delete', '--force', id]);
  assert.deepEqual(fixture().leftovers(id), []);
});

const SMUGGLED: [string, (config: Config) => void, RegExp][] = [
  [
    'sysctl',
    (c) => (c.linux.sysctl = { 'net.ipv4.ip_forward': '0\n1' }),
    /linux\.sysctl\["net\.ipv4\.ip_forward"\]: .*control character/,
  ],
  [
    'sysctl name',
    (c) => (c.linux.sysctl = { 'net/../kernel/core_pattern': '|/x' }),
    /is not a sysctl name/,
  ],
  [
    'cgroupsPath',
    (c) => (c.linux.cgroupsPath = '/a\n/b'),
    /linux\.cgroupsPath: .*control character/,
  ],
  ['hostname', (c) => (c.hostname = 'a\nb'), /hostname: .*control character/],
  [
    'cgroup file',
    (c) => (c.linux.resources.unified = { '../../../proc/sysrq-trigger': 'b' }),
    /is not the name of a cgroup file/,
  ],
  ['cpuset', (c) => (c.linux.resources.cpu = { cpus: '0\n1' }), /cpu\.cpus: .*is not a list/],
  [
    'rdma device',
    (c) => (c.linux.resources.rdma = { 'a hca_handle=max b': { hcaObjects: 1 } }),
    /linux\.resources\.rdma.*is not one word/,
  ],
  [
    'network priority',
    (c) => (c.linux.resources.network = { priorities: [{ name: 'lo 9\nlo', priority: 1 }] }),
    /is not a network device name/,
  ],
  [
    'label',
    (c) => (c.process.apparmorProfile = 'a\nb'),
    /process\.apparmorProfile: .*control character/,
  ],
  [
    'rdt class',
    (c) => (c.linux.intelRdt = { closID: '../x' }),
    /linux\.intelRdt\.closID: .*is not one word/,
  ],
  [
    'argument',
    (c) => (c.process.args = ['sh\0-c']),
    /process\.args\[0\]: contains a NUL character/,
  ],
  [
    'environment',
    (c) => (c.process.env = ['A=b\0C=d']),
    /process\.env\[0\]: contains a NUL character/,
  ],
  [
    'mount target',
    (c) => c.mounts.push({ destination: '/a\0/b', type: 'tmpfs' }),
    /mounts\[\d\]\.destination: contains a NUL character/,
  ],
];

for (const [what, change, expected] of SMUGGLED) {
  test(`a second line, path or argument in: ${what}`, { skip: needsRoot }, () => {
    refused(change, expected);
  });
}

test('ids that setresuid takes for no change', { skip: needsRoot }, () => {
  for (const id of [-1, 2 ** 32 - 1, 2 ** 32, 2 ** 53]) {
    refused((config) => {
      config.process.user.uid = id;
    }, /process\.user\.uid: -?\d+ is not between 0 and 4294967294/);
    refused((config) => {
      config.process.user.additionalGids = [id];
    }, /process\.user\.additionalGids\[0\]: -?\d+ is not between 0 and 4294967294/);
  }
});

test('more than 64 KiB of mappings (CVE-2021-43784)', { skip: needsRoot }, () => {
  const mappings = Array.from({ length: 5000 }, (_, index) => ({
    containerID: index,
    hostID: 100000 + index,
    size: 1,
  }));
  refused((config) => {
    config.linux.namespaces.push({ type: 'user' });
    config.linux.uidMappings = mappings;
    config.linux.gidMappings = mappings;
  }, /^config\.json: linux\.uidMappings: 5000 mappings are 68890 bytes for the kernel, which takes less than 4096: join neighbouring ranges$/);
});

test('a namespace path of more than 64 KiB (CVE-2021-43784)', { skip: needsRoot }, () => {
  const path = `/proc/self/ns/net${'/.'.repeat(40_000)}`;
  fixture().configure((config) => {
    for (const namespace of config.linux.namespaces) {
      if (namespace.type === 'network') namespace.path = path;
    }
  });
  const { status, error } = run();
  assert.equal(status, 1);
  assert.equal(error, `open network namespace ${path}: ENAMETOOLONG (file name too long)`);
});

test('a config.json of more than 1 MB has the flags that it asks for', { skip: needsRoot }, () => {
  const types = ['pid', 'net', 'ipc', 'uts', 'mnt'];
  const links = types.map((type) => `/proc/self/ns/${type}`);
  fixture().configure((config) => {
    config.process.args = ['sh', '-c', `for each in ${links.join(' ')}; do readlink $each; done`];
    config.process.noNewPrivileges = true;
    config.annotations = {};
    for (let index = 0; index < 2000; index++) {
      config.annotations[`org.example.annotation-${index}`] = 'x'.repeat(600);
    }
  });
  const { size } = statSync(join(fixture().bundle, 'config.json'));
  assert.ok(size > 1 << 20);
  const { status, stdout, error } = run();
  assert.deepEqual([status, error], [0, '']);
  const inside = stdout.trim().split('\n');
  assert.equal(inside.length, types.length);
  const own = links.map((link) => readlinkSync(link));
  assert.deepEqual(
    inside.filter((link) => own.includes(link)),
    [],
    'every namespace is a new one',
  );
});

test('arguments and variables beyond what execve takes', { skip: needsRoot }, () => {
  refused((config) => {
    config.process.args = ['sh', '-c', 'true', 'x'.repeat(200_000)];
  }, /E2BIG/);
  fixture().configure((config) => {
    config.process.args = ['sh', '-c', 'echo $' + '{#A}'];
    config.process.env = [`A=${'y'.repeat(100_000)}`, 'PATH=/bin'];
  });
  assert.equal(run().stdout, '100000\n');
});
