import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCgroupHost } from './cgroup-host.ts';

const HYBRID = `24 18 0:22 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
25 24 0:23 / /sys/fs/cgroup/systemd rw,relatime shared:5 - cgroup cgroup rw,xattr,name=systemd
26 24 0:24 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
27 24 0:25 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
28 24 0:26 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
29 24 0:25 / /mnt/memory\\040again rw,relatime - cgroup cgroup rw,memory
`;
const HYBRID_SELF = `4:name=systemd:/user.slice
3:cpu,cpuacct:/
2:memory:/a:b/c
0::/user.slice/x.scope
`;

test('parseCgroupHost: hybrid, controllers that share a mount, the first of two mounts', () => {
  assert.deepEqual(parseCgroupHost(HYBRID, HYBRID_SELF), {
    layout: 'hybrid',
    hierarchies: [
      {
        controllers: ['name=systemd'],
        mountPoint: '/sys/fs/cgroup/systemd',
        root: '/',
        ownCgroup: '/user.slice',
      },
      {
        controllers: ['cpu', 'cpuacct'],
        mountPoint: '/sys/fs/cgroup/cpu,cpuacct',
        root: '/',
        ownCgroup: '/',
      },
      {
        controllers: ['memory'],
        mountPoint: '/sys/fs/cgroup/memory',
        root: '/',
        ownCgroup: '/a:b/c',
      },
      {
        controllers: [''],
        mountPoint: '/sys/fs/cgroup/unified',
        root: '/',
        ownCgroup: '/user.slice/x.scope',
      },
    ],
  });
});

test('parseCgroupHost: v1 alone', () => {
  const mountinfo = '27 24 0:25 /docker/1 /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n';
  assert.deepEqual(parseCgroupHost(mountinfo, '2:pids:/docker/1\n'), {
    layout: 'legacy',
    hierarchies: [
      {
        controllers: ['pids'],
        mountPoint: '/sys/fs/cgroup/pids',
        root: '/docker/1',
        ownCgroup: '/docker/1',
      },
    ],
  });
});

test('parseCgroupHost: v2 alone, at an unusual place with a space', () => {
  const mountinfo = '27 24 0:25 / /my\\040cgroups rw - cgroup2 none rw\n';
  assert.deepEqual(parseCgroupHost(mountinfo, '0::/init\n'), {
    layout: 'unified',
    hierarchies: [{ controllers: [''], mountPoint: '/my cgroups', root: '/', ownCgroup: '/init' }],
  });
});

test("parseCgroupHost: a hierarchy that CRIU has mounted for a moment is none of the host's", () => {
  const pids = '27 24 0:25 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n';
  const own = '3:hugetlb:/\n2:pids:/\n';
  for (const place of ['/tmp/.criu.cgyard.Ab12Cd/hugetlb', '/run/.criu.cgmounts.Ab12Cd']) {
    const passing = `90 24 0:40 / ${place} rw - cgroup none rw,hugetlb\n`;
    assert.deepEqual(parseCgroupHost(passing + pids, own), parseCgroupHost(pids, own));
  }
});

test('parseCgroupHost: nothing mounted', () => {
  assert.throws(() => parseCgroupHost('1 1 0:1 / / rw - ext4 /dev/sda rw\n', '0::/\n'), {
    kind: 'FailedPrecondition',
    code: 'TS_CGROUP_NOT_MOUNTED',
    text: 'find cgroups: no cgroup file system is mounted: run "mount -t cgroup2 none /sys/fs/cgroup"',
  });
});
