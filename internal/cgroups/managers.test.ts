import assert from 'node:assert/strict';
import { posix } from 'node:path';
import { test } from 'node:test';
import { TsError } from '../errors/index.ts';
import { type Operation, runBlocking } from '../linux/index.ts';
import type { CgroupHost } from './cgroup-host.ts';
import type { CgroupResources } from './cgroup-manager.ts';
import { FakeCgroupFiles } from './fake-cgroup-files.ts';
import { locateCgroup, openCgroup } from './open-cgroup.ts';

const V1_HOST: CgroupHost = {
  layout: 'hybrid',
  hierarchies: [
    { controllers: ['cpuset'], mountPoint: '/c/cpuset', root: '/', ownCgroup: '/' },
    { controllers: ['cpu', 'cpuacct'], mountPoint: '/c/cpu,cpuacct', root: '/', ownCgroup: '/' },
    { controllers: ['pids'], mountPoint: '/c/pids', root: '/', ownCgroup: '/' },
    { controllers: ['freezer'], mountPoint: '/c/freezer', root: '/', ownCgroup: '/' },
    { controllers: [''], mountPoint: '/c/unified', root: '/', ownCgroup: '/' },
  ],
};

const V1_FILES: Record<string, Record<string, string>> = {
  cpuset: { 'cpuset.cpus': '', 'cpuset.mems': '' },
  'cpu,cpuacct': { 'cpu.shares': '1024' },
  pids: { 'pids.max': 'max' },
  freezer: { 'freezer.state': 'THAWED' },
  unified: {},
};

function v1(): FakeCgroupFiles {
  const files = new FakeCgroupFiles('/c', (directory) => {
    const hierarchy = directory.split('/')[2] ?? '';
    return { 'cgroup.procs': '', ...V1_FILES[hierarchy] };
  });
  for (const { mountPoint } of V1_HOST.hierarchies) {
    files.addDirectory(mountPoint);
    files.contents.set(`${mountPoint}/cgroup.sane_behavior`, '0');
  }
  files.contents.set('/c/cpuset/cpuset.cpus', '0-3');
  files.contents.set('/c/cpuset/cpuset.mems', '0');
  return files;
}

const V2_HOST: CgroupHost = {
  layout: 'unified',
  hierarchies: [{ controllers: [''], mountPoint: '/c', root: '/', ownCgroup: '/' }],
};

function v2(): FakeCgroupFiles {
  const files = new FakeCgroupFiles('/c', (directory) => ({
    'cgroup.controllers': 'cpu pids',
    'cgroup.subtree_control': '',
    'cgroup.freeze': '0',
    ...(directory === '/c'
      ? {}
      : {
          'cgroup.procs': '',
          'cgroup.events': 'frozen 0',
          'pids.max': 'max',
          'cpu.weight': '100',
        }),
  }));
  return files;
}

const RESOURCES: CgroupResources = { pids: { limit: 5n }, cpu: { shares: 512n } };
const OPTIONS = { id: 'web', cgroupsPath: '/pods/web' };

const LAYOUTS = [
  ['v1', V1_HOST, v1],
  ['v2', V2_HOST, v2],
] as const;

test('create on v1: directories in all hierarchies, CPUs from above, limits', () => {
  const files = v1();
  runBlocking(locateCgroup(OPTIONS, V1_HOST, files).create(RESOURCES));
  assert.deepEqual(files.journal, [
    '+cpuset/pods',
    '+cpuset/pods/web',
    '+cpu,cpuacct/pods',
    '+cpu,cpuacct/pods/web',
    '+pids/pods',
    '+pids/pods/web',
    '+freezer/pods',
    '+freezer/pods/web',
    '+unified/pods',
    '+unified/pods/web',
    'cpuset/pods/cpuset.cpus=0-3',
    'cpuset/pods/cpuset.mems=0',
    'cpuset/pods/web/cpuset.cpus=0-3',
    'cpuset/pods/web/cpuset.mems=0',
    'cpu,cpuacct/pods/web/cpu.shares=512',
    'pids/pods/web/pids.max=5',
  ]);
});

test('create on v2: controllers are handed down from the top before limits are set', () => {
  const files = v2();
  runBlocking(locateCgroup(OPTIONS, V2_HOST, files).create(RESOURCES));
  assert.deepEqual(files.journal, [
    '+pods',
    '+pods/web',
    'cgroup.subtree_control=+cpu +pids',
    'pods/cgroup.subtree_control=+cpu +pids',
    'pods/web/pids.max=5',
    'pods/web/cpu.weight=59',
  ]);
});

test('create on v2: a controller that cannot be handed down does not hold up the others', () => {
  const files = v2();
  files.refuse(
    (entry) => entry.startsWith('pods/cgroup.subtree') && entry.includes('cpu'),
    'EBUSY',
  );
  runBlocking(locateCgroup(OPTIONS, V2_HOST, files).create({ pids: { limit: 5n } }));
  assert.deepEqual(files.journal.slice(-2), [
    'pods/cgroup.subtree_control=+pids',
    'pods/web/pids.max=5',
  ]);
});

for (const [name, host, make] of LAYOUTS) {
  test(`create on ${name}: fails at each step in turn, and nothing is left`, () => {
    const whole = make();
    runBlocking(locateCgroup(OPTIONS, host, whole).create(RESOURCES));
    const steps = whole.journal.length;
    assert.ok(steps > 5);
    for (let failing = 0; failing < steps; failing++) {
      const files = make();
      const before = [...files.directories].sort();
      files.refuse((entry) => !entry.startsWith('-') && files.journal.length === failing, 'EIO');
      const manager = locateCgroup(OPTIONS, host, files);
      assert.throws(() => runBlocking(manager.create(RESOURCES)), /: EIO$/, `step ${failing}`);
      assert.deepEqual([...files.directories].sort(), before, String(whole.journal[failing]));
    }
  });

  test(`create on ${name}: what cannot be cleaned up is told beside the first error`, () => {
    const files = make();
    files.refuse((entry) => entry.endsWith('pids.max=5'), 'EINVAL');
    files.refuse((entry) => entry.startsWith('-') && entry.endsWith('web'), 'EPERM');
    try {
      runBlocking(locateCgroup(OPTIONS, host, files).create(RESOURCES));
      assert.fail('it was made');
    } catch (thrown) {
      assert.ok(thrown instanceof TsError);
      assert.match(
        thrown.message,
        /^linux\.resources\.pids\.limit: write "5" to .*pids\.max: EINVAL$/,
      );
      assert.match(thrown.cleanup[0]?.message ?? '', /^remove cgroup .*\/pods\/web: EPERM$/);
    }
  });

  test(`create on ${name}: a cgroup with processes is refused and left as it is`, () => {
    const files = make();
    runBlocking(locateCgroup(OPTIONS, host, files).create({}));
    const [busy] = [...files.directories].filter((directory) => directory.endsWith('/pods/web'));
    files.contents.set(`${busy}/cgroup.procs`, '12\n13');
    const before = [...files.directories];
    assert.throws(() => runBlocking(locateCgroup(OPTIONS, host, files).create({})), {
      kind: 'FailedPrecondition',
      code: 'TS_CGROUP_NOT_EMPTY',
      text:
        `the container's cgroup ${busy} is not empty: 2 process(es) found: ` +
        'end them (12, 13) or choose another linux.cgroupsPath',
    });
    assert.deepEqual([...files.directories], before);
  });

  test(`the root on ${name}: nothing is killed, frozen or removed`, () => {
    const files = make();
    files.makeDirectory(`${host.hierarchies.at(-1)?.mountPoint}/others`);
    // As the kernel does, since something is mounted there.
    for (const { mountPoint } of host.hierarchies) {
      files.refuse(`-${posix.relative('/c', mountPoint)}`, 'EBUSY');
    }
    const before = [...files.directories];
    const entries = host.hierarchies.flatMap(({ controllers, mountPoint }) =>
      controllers.map((controller) => [controller, mountPoint]),
    );
    const root = openCgroup(Object.fromEntries(entries), files);
    const calls: [string, () => Operation<void>][] = [
      ['kill the processes of', () => root.kill()],
      ['signal the processes of', () => root.signal(15)],
      ['signal the processes of', () => root.signal(9)],
      ['freeze', () => root.freeze(1)],
      ['remove', () => root.remove(1)],
    ];
    for (const [operation, call] of calls) {
      assert.throws(
        () => runBlocking(call()),
        (thrown: unknown) => {
          assert.ok(thrown instanceof TsError);
          assert.equal(thrown.code, 'TS_CGROUP_PATH_IS_ROOT');
          assert.ok(thrown.message.startsWith(`${operation} /c`), thrown.message);
          return true;
        },
      );
    }
    assert.deepEqual([...files.directories], before);
    // Nor are the kills of the whole machine those of a container.
    files.contents.set('/c/memory/memory.oom_control', 'oom_kill 7');
    files.contents.set('/c/memory/cgroup.sane_behavior', '0');
    const memory = openCgroup({ ...root.paths, memory: '/c/memory' }, files);
    assert.equal(memory.oomKills(), 0n);
    memory.watchOom(() => assert.fail('told'))[Symbol.dispose]();
  });

  test(`remove on ${name}: what is below goes too; again is no error`, () => {
    const files = make();
    const manager = locateCgroup(OPTIONS, host, files);
    runBlocking(manager.create({}));
    for (const directory of Object.values(manager.paths)) {
      if (!files.directories.has(`${directory}/a`)) {
        files.makeDirectory(`${directory}/a`);
        files.makeDirectory(`${directory}/a/b`);
      }
    }
    const again = openCgroup(JSON.parse(JSON.stringify(manager.paths)), files);
    assert.equal(again.exists(), true);
    runBlocking(again.remove());
    assert.equal(again.exists(), false);
    assert.deepEqual(
      [...files.directories].filter((path) => path.includes('web')),
      [],
    );
    runBlocking(again.remove());
  });

  test(`undoCreate on ${name}: parents that were made go, those that others use stay`, () => {
    const files = make();
    const before = [...files.directories].sort();
    const manager = locateCgroup(OPTIONS, host, files);
    runBlocking(manager.create(RESOURCES));
    runBlocking(manager.undoCreate());
    assert.deepEqual([...files.directories].sort(), before);

    runBlocking(manager.create(RESOURCES));
    runBlocking(locateCgroup({ id: 'other', cgroupsPath: '/pods/other' }, host, files).create({}));
    runBlocking(manager.undoCreate());
    const left = [...files.directories].filter((path) => !before.includes(path));
    assert.ok(left.length > 0);
    assert.ok(left.every((path) => path.endsWith('/pods') || path.endsWith('/pods/other')));
  });

  test(`remove on ${name}: processes that stay are named after the deadline`, () => {
    const files = make();
    const manager = locateCgroup(OPTIONS, host, files);
    runBlocking(manager.create({}));
    const busy = manager.paths['pids'] ?? manager.paths[''];
    files.contents.set(`${busy}/cgroup.procs`, '77');
    assert.throws(() => runBlocking(manager.remove(5)), {
      kind: 'FailedPrecondition',
      code: 'TS_CGROUP_BUSY',
      text: `remove cgroup ${busy}: EBUSY: end its processes (77) and delete again`,
    });
  });

  test(`join on ${name}: every hierarchy once; a process that is gone`, () => {
    const files = make();
    const manager = locateCgroup(OPTIONS, host, files);
    runBlocking(manager.create({}));
    files.journal.length = 0;
    runBlocking(manager.join(42));
    const directories = new Set(Object.values(manager.paths));
    assert.equal(files.journal.length, directories.size);
    assert.ok(files.journal.every((entry) => entry.endsWith('/cgroup.procs=42')));
    files.refuse((entry) => entry.endsWith('cgroup.procs=43'), 'ESRCH');
    assert.throws(
      () => runBlocking(manager.join(43)),
      /write "43" to .*\/pods\/web\/cgroup\.procs: ESRCH$/,
    );
  });

  test(`rootless on ${name}: no permission is no error unless limits are asked for`, () => {
    const options = { id: 'web', rootless: true };
    const files = make();
    files.refuse((entry) => entry.startsWith('+'), 'EACCES');
    const manager = locateCgroup(options, host, files);
    runBlocking(manager.create({ devices: [{ allow: false }] }));
    assert.deepEqual(manager.paths, {});
    assert.equal(manager.exists(), false);
    assert.deepEqual(manager.allPids(), []);
    runBlocking(manager.join(1));
    runBlocking(manager.remove());
    assert.throws(() => runBlocking(locateCgroup(options, host, files).create(RESOURCES)), TsError);
    assert.throws(
      () => runBlocking(locateCgroup({ ...OPTIONS, rootless: true }, host, files).create({})),
      {
        kind: 'PermissionDenied',
      },
    );
  });
}
