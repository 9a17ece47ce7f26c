// A container's cgroup on this machine's kernel, whatever its layout: one contract for v1, hybrid and v2.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import {
  type CgroupManager,
  type CgroupResources,
  containerDeviceRules,
  detectCgroupHost,
  type Hierarchy,
  locateCgroup,
  openCgroup,
  parseCgroupHost,
} from '../../internal/cgroups/index.ts';
import {
  OwnedFd,
  Pipe,
  runBlocking,
  SyscallProgram,
  steps,
  waitForChild,
} from '../../internal/linux/index.ts';

const host = detectCgroupHost();
const isV2 = host.layout === 'unified';
const controllers = new Set(
  isV2
    ? readFileSync(`${host.hierarchies[0]?.mountPoint}/cgroup.controllers`, 'utf8')
        .trim()
        .split(' ')
    : host.hierarchies.flatMap((hierarchy) => hierarchy.controllers),
);
const root = process.geteuid?.() === 0 ? false : 'only root makes cgroups here';
const without = (...names: string[]): string | false => {
  const missing = names.filter((name) => !controllers.has(name));
  return root || (missing.length > 0 && `no cgroup controller ${missing.join(', ')} here`);
};
console.log(`cgroup layout: ${host.layout}`);

const parent = `tsrunc-test-${process.pid}`;
const DEADLINE_MS = 30_000;

after(() => {
  if (root) return;
  const paths = locateCgroup({ id: 'x', cgroupsPath: `/${parent}` }, host).paths;
  runBlocking(openCgroup(paths).remove(DEADLINE_MS));
});

let count = 0;

/** A cgroup of its own for a test; what is left in it at the end is killed. */
class TestCgroup implements Disposable {
  readonly manager: CgroupManager;
  readonly #children: ChildProcess[] = [];

  constructor(resources: CgroupResources = {}) {
    this.manager = locateCgroup({ id: 'x', cgroupsPath: `/${parent}/${++count}` }, host);
    runBlocking(this.manager.create(resources));
  }

  /** Content of a controller's file. */
  read(controller: string, file: string): string {
    const directory = this.manager.paths[isV2 ? '' : controller];
    return readFileSync(`${directory}/${file}`, 'utf8').trim();
  }

  /** Starts a shell script once its shell is in the cgroup. */
  start(script: string): ChildProcess & { readonly pid: number } {
    const child = spawn('sh', ['-c', `read go; ${script}`], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#children.push(child);
    assert.ok(child.pid);
    runBlocking(this.manager.join(child.pid));
    child.stdin.write('go\n');
    return child as ChildProcess & { readonly pid: number };
  }

  [Symbol.dispose](): void {
    runBlocking(this.manager.kill());
    for (const child of this.#children) child.unref();
    runBlocking(this.manager.remove(DEADLINE_MS));
  }
}

/** What a process is in, by controller; `''` is v2. */
function cgroupsOf(pid: number): Map<string, string> {
  const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n');
  return new Map(
    lines.flatMap((line) => {
      const [, names = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      return names.split(',').map((name) => [name, path] as const);
    }),
  );
}

async function firstLine(child: ChildProcess): Promise<string> {
  assert.ok(child.stdout);
  const [chunk] = await once(child.stdout, 'data');
  return String(chunk).trim();
}

test('the quick look at usual places finds what the list of mounts says', () => {
  const mountinfo = readFileSync('/proc/self/mountinfo', 'utf8');
  const listed = parseCgroupHost(mountinfo, readFileSync('/proc/self/cgroup', 'utf8'));
  const byName = (one: Hierarchy, other: Hierarchy) =>
    String(one.controllers).localeCompare(String(other.controllers));
  assert.equal(host.layout, listed.layout);
  assert.deepEqual(host.hierarchies.toSorted(byName), listed.hierarchies.toSorted(byName));
});

test('create: the kernel has the limits', {
  skip: without('memory', 'pids', 'cpu', 'cpuset'),
}, () => {
  using cgroup = new TestCgroup({
    memory: { limit: 64n << 20n, reservation: 32n << 20n },
    pids: { limit: 77n },
    cpu: { shares: 2048n, quota: 50000n, period: 200000n, cpus: '0', mems: '0' },
  });
  if (isV2) {
    assert.equal(cgroup.read('memory', 'memory.max'), '67108864');
    assert.equal(cgroup.read('memory', 'memory.low'), '33554432');
    assert.equal(cgroup.read('cpu', 'cpu.weight'), '174');
    assert.equal(cgroup.read('cpu', 'cpu.max'), '50000 200000');
  } else {
    assert.equal(cgroup.read('memory', 'memory.limit_in_bytes'), '67108864');
    assert.equal(cgroup.read('memory', 'memory.soft_limit_in_bytes'), '33554432');
    assert.equal(cgroup.read('cpu', 'cpu.shares'), '2048');
    assert.equal(cgroup.read('cpu', 'cpu.cfs_quota_us'), '50000');
    assert.equal(cgroup.read('cpu', 'cpu.cfs_period_us'), '200000');
  }
  assert.equal(cgroup.read('pids', 'pids.max'), '77');
  assert.equal(cgroup.read('cpuset', 'cpuset.cpus'), '0');
  runBlocking(cgroup.manager.update({ pids: { limit: -1n }, memory: { limit: 128n << 20n } }));
  assert.equal(cgroup.read('pids', 'pids.max'), 'max');
  const limit = isV2 ? 'memory.max' : 'memory.limit_in_bytes';
  assert.equal(cgroup.read('memory', limit), '134217728');
});

test('create: a limit that the kernel refuses leaves no cgroup behind', {
  skip: without('cpuset'),
}, () => {
  const manager = locateCgroup({ id: 'x', cgroupsPath: `/${parent}-bad/new/x` }, host);
  assert.throws(
    () => runBlocking(manager.create({ cpu: { cpus: '4000' } })),
    /^TsError: linux\.resources\.cpu\.cpus: write "4000" to \/.*\/cpuset\.cpus: E[A-Z]+$/,
  );
  for (const { mountPoint } of host.hierarchies) {
    assert.equal(existsSync(`${mountPoint}/${parent}-bad`), false, mountPoint);
  }
});

test('join: the process is in every hierarchy, its children too', { skip: root }, async () => {
  using cgroup = new TestCgroup();
  const child = cgroup.start('sleep 1000 & echo $!; wait');
  const grandchild = Number(await firstLine(child));
  for (const pid of [child.pid, grandchild]) {
    const cgroups = cgroupsOf(pid);
    for (const [controller, directory] of Object.entries(cgroup.manager.paths)) {
      const hierarchy = host.hierarchies.find(({ controllers: all }) => all.includes(controller));
      assert.equal(`${hierarchy?.mountPoint}${cgroups.get(controller)}`, directory);
    }
  }
  assert.deepEqual(cgroup.manager.pids().sort(), [child.pid, grandchild].sort());
  assert.deepEqual(cgroup.manager.allPids().sort(), [child.pid, grandchild].sort());
});

test('openForClone: a child is born in the cgroup', {
  skip: root || (!isV2 && 'not cgroup v2'),
}, () => {
  using cgroup = new TestCgroup();
  const number = cgroup.manager.openForClone();
  assert.ok(number !== undefined);
  using fd = new OwnedFd(number);
  using reports = new Pipe();
  using gate = new Pipe();
  const program = new SyscallProgram();
  const pid = program.main.clone(
    steps.cloneProcess({ cgroup: fd.number }),
    { reportTo: reports.writeEnd.number },
    (child) => {
      child.add(steps.closeFrom(gate.writeEnd.number, 'now'));
      child.add(steps.waitForBytes(gate.readEnd.number));
    },
  );
  using run = program.run();
  assert.deepEqual(cgroup.manager.pids(), [run.value(pid)]);
  gate.writeEnd.close();
  waitForChild(run.value(pid));
});

test('freeze: no process runs until the thaw', {
  skip: without(isV2 ? 'cpu' : 'freezer'),
}, async () => {
  using cgroup = new TestCgroup();
  const child = cgroup.start('trap "echo got; exit 3" USR1; echo ready; while :; do :; done');
  await firstLine(child);
  assert.equal(cgroup.manager.isFrozen(), false);
  runBlocking(cgroup.manager.freeze());
  assert.equal(cgroup.manager.isFrozen(), true);
  const ticks = () => Number(readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(' ')[13]);
  const before = ticks();
  child.kill('SIGUSR1');
  execFileSync('sleep', ['0.3']); // thirty ticks for a process that runs
  // On v2 the signal wakes it, and it stops again before it gets out of the kernel: some ticks on an emulated machine.
  assert.ok(ticks() - before <= 5, `${ticks() - before} ticks`);
  const output = firstLine(child);
  cgroup.manager.thaw();
  assert.equal(cgroup.manager.isFrozen(), false);
  assert.equal(await output, 'got');
});

test('freeze: an empty cgroup, and one that is frozen already', {
  skip: without(isV2 ? 'cpu' : 'freezer'),
}, () => {
  using cgroup = new TestCgroup();
  runBlocking(cgroup.manager.freeze());
  runBlocking(cgroup.manager.freeze());
  assert.equal(cgroup.manager.isFrozen(), true);
  cgroup.manager.thaw();
});

test('kill: processes that fork all the time, and frozen ones', {
  skip: without('pids'),
}, async () => {
  using cgroup = new TestCgroup({ pids: { limit: 30n } });
  const child = cgroup.start(
    'echo ready; while :; do (sleep 1000 & (sleep 1000 &) ) 2>/dev/null; done 2>/dev/null',
  );
  await firstLine(child);
  runBlocking(cgroup.manager.kill());
  const [, signal] = await once(child, 'exit');
  assert.equal(signal, 'SIGKILL');
  runBlocking(cgroup.manager.remove(DEADLINE_MS));
  assert.equal(cgroup.manager.exists(), false);

  using frozen = new TestCgroup();
  const sleeper = frozen.start('echo ready; sleep 1000');
  await firstLine(sleeper);
  if (isV2 || controllers.has('freezer')) runBlocking(frozen.manager.freeze());
  runBlocking(frozen.manager.kill());
  await once(sleeper, 'exit');
});

test('signal: every process of the cgroup gets it', { skip: root }, async () => {
  using cgroup = new TestCgroup();
  const child = cgroup.start('trap "" TERM; sleep 1000 & echo ready; wait $!; echo status $?');
  await firstLine(child);
  // The shell ignores TERM, and so does its sleep: nothing ends. USR1 ends both.
  runBlocking(cgroup.manager.signal(15));
  assert.equal(cgroup.manager.allPids().length, 2);
  runBlocking(cgroup.manager.signal(10));
  const [, signal] = await once(child, 'exit');
  assert.equal(signal, 'SIGUSR1');
});

test('remove: live processes are named, dying ones waited for', { skip: root }, async () => {
  using cgroup = new TestCgroup();
  const child = cgroup.start('echo ready; sleep 1000');
  await firstLine(child);
  const pids = cgroup.manager.allPids();
  assert.throws(
    () => runBlocking(cgroup.manager.remove(20)),
    (thrown: unknown) => {
      const error = thrown as { code?: string; text?: string };
      assert.equal(error.code, 'TS_CGROUP_BUSY');
      assert.match(
        error.text ?? '',
        /^remove cgroup \/.*: EBUSY: end its processes \(.*\) and delete again$/,
      );
      for (const pid of pids) assert.ok(error.text?.includes(String(pid)));
      return true;
    },
  );
  runBlocking(cgroup.manager.kill());
  runBlocking(cgroup.manager.remove(DEADLINE_MS));
  assert.equal(cgroup.manager.exists(), false);
  await once(child, 'exit');
});

test('create: refuses a cgroup in which others run', { skip: root }, async () => {
  using cgroup = new TestCgroup();
  const child = cgroup.start('echo ready; sleep 1000');
  await firstLine(child);
  const again = locateCgroup({ id: 'x', cgroupsPath: `/${parent}/${count}` }, host);
  assert.throws(() => runBlocking(again.create({})), { code: 'TS_CGROUP_NOT_EMPTY' });
  assert.ok(cgroup.manager.pids().includes(child.pid), 'and leaves them alone');
});

test('out of memory: counted and told', { skip: without('memory') }, async () => {
  const limit = 16n << 20n;
  using cgroup = new TestCgroup({ memory: { limit, swap: limit } });
  assert.equal(cgroup.manager.oomKills(), 0n);
  const told = Promise.withResolvers<bigint>();
  using watch = cgroup.manager.watchOom(told.resolve);
  void watch;
  // tail keeps a line that never ends in memory.
  const child = cgroup.start('tail /dev/zero; echo $?');
  const line = await firstLine(child);
  assert.equal(line, '137');
  assert.ok((await told.promise) >= 1n);
  assert.ok(cgroup.manager.oomKills() >= 1n);
  const statistics = cgroup.manager.statistics();
  const counted =
    statistics.version === 1
      ? statistics.memoryOomControl?.oomKill
      : statistics.memoryEvents?.oomKill;
  assert.ok((counted ?? 0n) >= 1n);
});

test('devices: what is not allowed cannot be opened', {
  skip: !isV2 && without('devices'),
}, async () => {
  using cgroup = new TestCgroup({
    devices: containerDeviceRules([{ allow: false, access: 'rwm' }]),
  });
  const opens = (device: string) => `true < ${device} && echo ${device};`;
  const script = `exec 2>&-; (${opens('/dev/null')} ${opens('/dev/kmsg')} ${opens('/dev/zero')} echo end) | tr "\\n" " "`;
  assert.equal(await firstLine(cgroup.start(script)), '/dev/null /dev/zero end');
  const kmsg = { allow: true, type: 'c', major: 1, minor: 11, access: 'r' } as const;
  runBlocking(
    cgroup.manager.update({
      devices: containerDeviceRules([{ allow: false, access: 'rwm' }, kmsg]),
    }),
  );
  assert.equal(await firstLine(cgroup.start(script)), '/dev/null /dev/kmsg /dev/zero end');
  runBlocking(cgroup.manager.update({ devices: [{ allow: false }] }));
  assert.equal(await firstLine(cgroup.start(script)), 'end');
});

test('statistics: what a process used', {
  skip: without('memory', 'pids', isV2 ? 'cpu' : 'cpuacct'),
}, async () => {
  using cgroup = new TestCgroup({ memory: { limit: 256n << 20n }, pids: { limit: 9n } });
  const child = cgroup.start(
    'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; echo done; sleep 1000',
  );
  await firstLine(child);
  const statistics = cgroup.manager.statistics();
  assert.equal(statistics.version, isV2 ? 2 : 1);
  assert.equal(statistics.pids?.limit, 9n);
  assert.ok((statistics.pids?.current ?? 0n) >= 1n);
  if (statistics.version === 1) {
    assert.ok((statistics.cpu?.usage.total ?? 0n) > 1000000n);
    assert.ok((statistics.memory?.usage.usage ?? 0n) > 0n);
    assert.equal(statistics.memory?.usage.limit, 268435456n);
  } else {
    assert.ok((statistics.cpu?.usageUsec ?? 0n) > 1000n);
    assert.ok((statistics.memory?.usage ?? 0n) > 0n);
    assert.equal(statistics.memory?.usageLimit, 268435456n);
  }
});

test('unified limits are set, or refused on v1', { skip: root }, () => {
  const resources: CgroupResources = { unified: { 'memory.high': '33554432' } };
  if (isV2) {
    using cgroup = new TestCgroup(resources);
    assert.equal(cgroup.read('', 'memory.high'), '33554432');
    const missing: CgroupResources = { unified: { 'nothing.max': '1' } };
    assert.throws(() => runBlocking(cgroup.manager.update(missing)), {
      code: 'TS_CGROUP_NO_CONTROLLER',
      message: /^linux\.resources\.unified\["nothing\.max"\]: write "1" to .*nothing\.max: ENOENT$/,
    });
  } else {
    assert.throws(() => new TestCgroup(resources), { code: 'TS_CGROUP_NO_LIMIT' });
  }
});

test('a missing controller is named, with what to do', {
  skip: root || (controllers.has('hugetlb') && 'hugetlb is there'),
}, () => {
  const limit = { hugepageLimits: [{ pageSize: '2MB', limit: 2097152n }] };
  assert.throws(() => new TestCgroup(limit), {
    kind: 'FailedPrecondition',
    code: 'TS_CGROUP_NO_CONTROLLER',
    message: /hugetlb/,
  });
});

test('nothing stays open', { skip: root }, async () => {
  const open = () => readdirSync('/proc/self/fd').length;
  const round = async () => {
    using cgroup = new TestCgroup({ devices: containerDeviceRules([{ allow: false }]) });
    runBlocking(cgroup.manager.update({ devices: containerDeviceRules([{ allow: false }]) }));
    using watch = cgroup.manager.watchOom(() => {});
    void watch;
    const child = cgroup.start('exit 0');
    await once(child, 'close');
    cgroup.manager.statistics();
  };
  await round();
  const before = open();
  for (let times = 0; times < 3; times++) await round();
  assert.equal(open(), before);
});
