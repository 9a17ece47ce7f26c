import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCgroupHost } from '../cgroups/index.ts';
import { cgroupPathsOf } from './task-cgroup.ts';

const mountinfo = (lines: string[]): string =>
  lines.map((line, index) => `${index + 30} 25 0:${index + 20} / ${line}`).join('\n');

test('cgroupPathsOf finds each controller of cgroup v1, and the tree of v2 beside them', () => {
  const host = parseCgroupHost(
    mountinfo([
      '/sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct',
      '/sys/fs/cgroup/memory rw - cgroup cgroup rw,memory',
      '/sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd',
      '/sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
    ]),
    '3:cpu,cpuacct:/\n2:memory:/\n1:name=systemd:/\n0::/\n',
  );
  const text = '3:cpu,cpuacct:/k8s/pod\n2:memory:/k8s/pod\n1:name=systemd:/a:b\n0::/k8s/pod\n';
  assert.deepEqual(cgroupPathsOf(text, host), {
    cpu: '/sys/fs/cgroup/cpu,cpuacct/k8s/pod',
    cpuacct: '/sys/fs/cgroup/cpu,cpuacct/k8s/pod',
    memory: '/sys/fs/cgroup/memory/k8s/pod',
    'name=systemd': '/sys/fs/cgroup/systemd/a:b',
    '': '/sys/fs/cgroup/unified/k8s/pod',
  });
});

test('cgroupPathsOf finds the one tree of cgroup v2', () => {
  const host = parseCgroupHost(mountinfo(['/sys/fs/cgroup rw - cgroup2 cgroup2 rw']), '0::/own\n');
  assert.deepEqual(cgroupPathsOf('0::/system.slice/x\n', host), {
    '': '/sys/fs/cgroup/system.slice/x',
  });
});
