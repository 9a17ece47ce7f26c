// --systemd-cgroup: containers in transient scopes of the machine's systemd, beside runc where it is there.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { type Config, RuntimeFixture, tsruncCommand } from '../fixtures/runtime-bundle.ts';
import { machineOnly } from './machine.ts';

const skip = machineOnly();
const isV2 = existsSync('/sys/fs/cgroup/cgroup.controllers');
const v2Only = skip || (!isV2 && 'cgroup v2 only');
const [program = '', ...prefix] = tsruncCommand();
const fixtures: RuntimeFixture[] = [];
after(() => {
  for (const each of fixtures) each[Symbol.dispose]();
});

/** tsrunc, or another runtime, with systemd as its driver. */
function fixture(command: readonly string[] = [program, ...prefix]): RuntimeFixture {
  const made = new RuntimeFixture([...command, '--systemd-cgroup']);
  fixtures.push(made);
  return made;
}

function systemctl(...args: string[]): string {
  const { stdout, stderr, status } = spawnSync('systemctl', args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout.trim();
}

/** Properties of a unit, by name. */
function show(unit: string, names: readonly string[]): Record<string, string> {
  const values: Record<string, string> = {};
  for (const line of systemctl('show', unit, `--property=${names.join(',')}`)
    .split('\n')
    .sort()) {
    const equals = line.indexOf('=');
    const name = line.slice(0, equals);
    const value = line.slice(equals + 1);
    // A list of pairs has a line for each.
    values[name] = values[name] === undefined ? value : `${values[name]}; ${value}`;
  }
  return values;
}

/** Whether systemd knows a unit. */
function isLoaded(unit: string): boolean {
  return show(unit, ['LoadState'])['LoadState'] !== 'not-found';
}

/** The directory of a cgroup with the memory controller. */
function memoryDirectory(path: string): string {
  return isV2 ? `/sys/fs/cgroup${path}` : `/sys/fs/cgroup/memory${path}`;
}

const LIMITS = {
  memory: { limit: 100 << 20, reservation: 50 << 20, swap: 150 << 20 },
  cpu: { shares: 512, quota: 25_000, period: 50_000, cpus: '0', mems: '0' },
  pids: { limit: 50 },
};
const PROPERTIES =
  'Delegate,Slice,MemoryMax,MemoryLow,MemorySwapMax,CPUWeight,CPUQuotaPerSecUSec,CPUQuotaPeriodUSec,TasksMax,' +
  'AllowedCPUs,AllowedMemoryNodes,DevicePolicy,DeviceAllow,MemoryAccounting,CPUAccounting,TasksAccounting,IOAccounting,' +
  'MemoryLimit,CPUShares,BlockIOAccounting,DefaultDependencies';

function limited(cgroupsPath: string): (config: Config) => void {
  return (config) => {
    config.linux.cgroupsPath = cgroupsPath;
    Object.assign(config.linux.resources, structuredClone(LIMITS));
  };
}

/** What can be seen of the limits of a scope: the properties, sorted, and the files that are no statistics. */
function limitsOf(unit: string): {
  properties: Record<string, string>;
  files: Record<string, string>;
} {
  const { ControlGroup = '', ...properties } = show(unit, [
    'ControlGroup',
    ...PROPERTIES.split(','),
  ]);
  const files: Record<string, string> = {};
  const directories = isV2
    ? ['/sys/fs/cgroup']
    : ['memory', 'cpu', 'cpuset', 'pids', 'freezer', 'devices'].map(
        (name) => `/sys/fs/cgroup/${name}`,
      );
  for (const directory of directories) {
    for (const name of readdirSync(`${directory}${ControlGroup}`).sort()) {
      if (
        !/^(?:memory\.(?:max|low|high|min|swap\.max|limit_in_bytes|soft_limit_in_bytes|memsw\.limit_in_bytes)|cpu\.(?:weight|max|idle|max\.burst|shares|cfs_quota_us|cfs_period_us)|cpuset\.(?:cpus|mems)|pids\.max|devices\.list|cgroup\.(?:type|subtree_control|freeze))$/.test(
          name,
        )
      )
        continue;
      const content = readFileSync(`${directory}${ControlGroup}/${name}`, 'utf8').trim();
      files[name] = content.split('\n').sort().join('\n');
    }
  }
  return { properties, files };
}

test('limits are properties of the scope and in its cgroup, as with runc', { skip }, () => {
  const ours = fixture();
  ours.startSleeping('ours', limited('system.slice:twin:ours'));
  const seen = limitsOf('twin-ours.scope');
  assert.equal(seen.properties['Delegate'], 'yes');
  assert.equal(seen.properties['Slice'], 'system.slice');
  assert.equal(seen.properties['TasksMax'], '50');
  if (isV2) {
    assert.equal(seen.properties['MemoryMax'], '104857600');
    assert.equal(seen.files['memory.swap.max'], '52428800');
    assert.equal(seen.files['cpu.max'], '25000 50000');
  } else assert.equal(seen.files['memory.memsw.limit_in_bytes'], '157286400');
  const { pid } = JSON.parse(ours.run(['state', 'ours']).stdout) as { pid: number };
  assert.match(readFileSync(`/proc/${pid}/cgroup`, 'utf8'), /\/system\.slice\/twin-ours\.scope$/m);

  const theirs = fixture(['/usr/sbin/runc']);
  theirs.startSleeping('theirs', limited('system.slice:twin:theirs'));
  const runc = limitsOf('twin-theirs.scope');
  theirs.runDetached(['delete', '--force', 'theirs']);
  assert.deepEqual(seen, runc);

  systemctl('daemon-reload'); // systemd writes its properties again
  assert.deepEqual(limitsOf('twin-ours.scope'), seen);
  ours.runDetached(['delete', '--force', 'ours']);
  assert.equal(isLoaded('twin-ours.scope'), false);
  assert.deepEqual(ours.leftovers('twin-ours.scope'), []);
});

test('update, pause, resume, exec, ps, events and kill in a scope', { skip }, () => {
  const runtime = fixture();
  runtime.startSleeping('life', limited('nested-slice.slice::life'));
  const unit = 'life.scope';
  assert.equal(
    show(unit, ['ControlGroup'])['ControlGroup'],
    '/nested.slice/nested-slice.slice/life.scope',
  );
  const updated = runtime.run(['update', '-r', '-', 'life'], {
    input: JSON.stringify({ memory: { limit: 200 << 20, swap: 300 << 20 }, pids: { limit: 77 } }),
  });
  assert.equal(updated.error, '');
  const limit = isV2 ? 'MemoryMax' : 'MemoryLimit';
  assert.deepEqual(show(unit, [limit, 'TasksMax']), { [limit]: '209715200', TasksMax: '77' });
  const directory = memoryDirectory('/nested.slice/nested-slice.slice/life.scope');
  const file = isV2 ? 'memory.max' : 'memory.limit_in_bytes';
  assert.equal(readFileSync(`${directory}/${file}`, 'utf8').trim(), '209715200');

  assert.equal(
    runtime
      .run(['update', '-r', '-', 'life'], {
        input: JSON.stringify({ memory: { limit: 4096, checkBeforeUpdate: true } }),
      })
      .error.replace(/[0-9]+$/, 'N'),
    'linux.resources.memory.limit: 4096 is below the usage, N',
  );

  assert.equal(runtime.run(['pause', 'life']).error, '');
  assert.equal(JSON.parse(runtime.run(['state', 'life']).stdout).status, 'paused');
  assert.equal(runtime.run(['resume', 'life']).error, '');
  const inside = runtime.run(['exec', 'life', 'cat', '/proc/self/cgroup']);
  assert.match(
    inside.stdout,
    isV2 ? /^0::\/$/m : /memory:\/nested\.slice\/nested-slice\.slice\/life\.scope$/m,
    inside.error,
  );
  assert.equal(JSON.parse(runtime.run(['ps', '--format', 'json', 'life']).stdout).length, 1);
  const stats = JSON.parse(runtime.run(['events', '--stats', 'life']).stdout);
  assert.equal(stats.data.pids.limit, 77);
  assert.equal(stats.data.memory.usage.limit, 209715200);
  assert.equal(runtime.run(['kill', '--all', 'life', 'KILL']).error, '');
  assert.equal(runtime.run(['delete', '--force', 'life']).error, '');
  assert.equal(isLoaded(unit), false);
});

test('a container that cannot be created leaves neither scope nor process', { skip }, () => {
  const runtime = fixture();
  runtime.configure((config) => {
    config.linux.cgroupsPath = 'system.slice:broken:one';
    config.mounts.push({
      destination: '/mnt',
      source: '/never-was',
      type: 'bind',
      options: ['bind'],
    });
  });
  const failed = runtime.runDetached(['create', 'one']);
  assert.match(failed.error, /^.*\/never-was.*: ENOENT/);
  assert.equal(isLoaded('broken-one.scope'), false);
  assert.deepEqual(runtime.leftovers('one'), []);
  assert.deepEqual(runtime.leftovers('broken-one.scope'), []);

  runtime.configure((config) => {
    config.linux.cgroupsPath = 'system.slice:broken:two';
    config.linux.resources.cpu = { cpus: '4000' };
  });
  assert.notEqual(runtime.runDetached(['create', 'two']).error, '');
  assert.equal(isLoaded('broken-two.scope'), false);
  assert.deepEqual(runtime.leftovers('broken-two.scope'), []);
});

test('paths and annotations that are wrong are refused by name', { skip }, () => {
  const runtime = fixture();
  const error = (change: (config: Config) => void) => {
    runtime.configure(change);
    const outcome = runtime.runDetached(['create', 'bad']);
    assert.deepEqual(runtime.leftovers('bad'), []);
    return outcome.error;
  };
  assert.match(
    error((config) => {
      config.linux.cgroupsPath = '/k8s.io/abc';
    }),
    /^linux\.cgroupsPath "\/k8s\.io\/abc" is a path for the cgroupfs driver, but the systemd driver is on: /,
  );
  assert.match(
    error((config) => {
      config.annotations = { 'org.systemd.property.ExecStop': "'/bin/evil'" };
    }),
    /^config\.json: annotations\["org\.systemd\.property\.ExecStop"\]: containers may not set this property/,
  );
  runtime.configure((config) => {
    config.process.args = ['sleep', '1000'];
    config.linux.cgroupsPath = 'system.slice:noted:one';
    config.annotations = { 'org.systemd.property.TimeoutStopSec': '7' };
  });
  assert.equal(runtime.runDetached(['create', 'noted']).error, '');
  assert.equal(show('noted-one.scope', ['TimeoutStopUSec'])['TimeoutStopUSec'], '7s');
  const again = runtime.runDetached(['create', 'other']);
  assert.match(
    again.error,
    /^start unit noted-one\.scope: .*: stop it \(systemctl stop noted-one\.scope\)/,
  );
  assert.equal(runtime.runDetached(['delete', '--force', 'noted']).error, '');
});

test('devices: only what is allowed opens, for a scope as for any cgroup', { skip }, () => {
  const runtime = fixture();
  const outcome = runtime.runScript(
    'exec 2>&-; for d in null zero; do true </dev/$d && echo $d; done; mknod /dev/k c 1 11 && echo made; (true </dev/k) && echo opened || echo denied',
    (config) => {
      for (const set of ['bounding', 'effective', 'permitted'])
        config.process.capabilities[set].push('CAP_MKNOD');
    },
  );
  assert.equal(outcome.stdout, 'null\nzero\nmade\ndenied\n', outcome.error);
});

test('cpu.idle and other files of unified, with and without a property', { skip: v2Only }, () => {
  const runtime = fixture();
  runtime.startSleeping('unified', (config) => {
    config.linux.cgroupsPath = 'system.slice:u:one';
    config.linux.resources.unified = {
      'memory.high': '50000000',
      'pids.max': '33',
      'cpu.weight': '77',
      'memory.oom.group': '1',
    };
  });
  assert.deepEqual(show('u-one.scope', ['MemoryHigh', 'TasksMax', 'CPUWeight']), {
    CPUWeight: '77',
    MemoryHigh: '50000000',
    TasksMax: '33',
  });
  const directory = '/sys/fs/cgroup/system.slice/u-one.scope';
  assert.equal(readFileSync(`${directory}/memory.oom.group`, 'utf8'), '1\n');
});

test('a runtime that is killed leaves no scope', { skip }, () => {
  const runtime = fixture();
  runtime.configure((config) => {
    config.linux.cgroupsPath = 'system.slice:killed:one';
    config.hooks = {
      createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', 'kill -9 $PPID; sleep 1000'] }],
    };
  });
  runtime.runDetached(['create', 'killed']);
  runtime.runDetached(['delete', '--force', 'killed']);
  assert.equal(isLoaded('killed-one.scope'), false);
});
