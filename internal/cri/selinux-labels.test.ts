// The machine needs no SELinux for these: what labels a pod and its containers get is decided here, and files of the root
// can be labelled on any Linux. That the kernel enforces them is not shown by any test of this repository.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { OwnedFd } from '../linux/fd.ts';
import { getXattr } from '../linux/xattr.ts';
import { detectSelinux } from './selinux-host.ts';
import { checkLevel, SelinuxAllocator, type SelinuxContexts } from './selinux-labels.ts';
import { relabel, relabelAll } from './selinux-relabel.ts';
import { at, security, translate, translatePod } from './spec-request.fixture.ts';

const CONTEXTS: SelinuxContexts = {
  process: 'system_u:system_r:container_t:s0',
  file: 'system_u:object_r:container_file_t:s0',
  kvmProcess: 'system_u:system_r:container_kvm_t:s0',
  hasLevels: true,
};
/** Numbers in order, so that levels are known. */
const counting = (): ((below: number) => number) => {
  let next = 0;
  return (below) => next++ % below;
};
const options = (given: Partial<Record<'user' | 'role' | 'type' | 'level', string>>) => ({
  user: '',
  role: '',
  type: '',
  level: '',
  ...given,
});
const POD = 'system_u:system_r:container_t:s0:c0,c1';

describe('SELinux labels', () => {
  const pods: readonly [string, ReturnType<typeof options> | undefined, string, string][] = [
    ['nothing', undefined, POD, 'system_u:object_r:container_file_t:s0:c0,c1'],
    [
      'a level',
      options({ level: 's0:c4,c5' }),
      'system_u:system_r:container_t:s0:c4,c5',
      'system_u:object_r:container_file_t:s0:c4,c5',
    ],
    [
      'a type',
      options({ type: 'spc_t' }),
      'system_u:system_r:spc_t:s0:c0,c1',
      'system_u:object_r:container_file_t:s0:c0,c1',
    ],
    [
      'all four',
      options({ user: 'user_u', role: 'user_r', type: 'user_t', level: 's0:c1,c2' }),
      'user_u:user_r:user_t:s0:c1,c2',
      'user_u:object_r:container_file_t:s0:c1,c2',
    ],
  ];
  for (const [what, given, process, mount] of pods) {
    it(`of a pod that asks for ${what}`, () => {
      assert.deepEqual(new SelinuxAllocator(CONTEXTS, 1024, counting()).pod(given), {
        process,
        mount,
      });
    });
  }

  const containers: readonly [string, ReturnType<typeof options> | undefined, string][] = [
    ['nothing', undefined, POD],
    ['empty options', options({}), POD],
    ['a type alone', options({ type: 'spc_t' }), 'system_u:system_r:spc_t:s0:c2,c3'],
    ['a level', options({ level: 's0:c9' }), 'system_u:system_r:container_t:s0:c9'],
  ];
  for (const [what, given, process] of containers) {
    it(`of a container that asks for ${what}`, () => {
      const allocator = new SelinuxAllocator(CONTEXTS, 1024, counting());
      assert.equal(allocator.container(given, allocator.pod(undefined).process).process, process);
    });
  }

  it('have categories that no other pod has, until the range is used up', () => {
    const allocator = new SelinuxAllocator(CONTEXTS, 4);
    const levels = Array.from({ length: 6 }, () => allocator.pod(undefined).process);
    assert.equal(new Set(levels).size, 6);
    const text = 'SELinux: no pair of categories is free: raise selinux_category_range, which is 4';
    assert.throws(() => allocator.pod(undefined), { kind: 'ResourceExhausted', text });
    allocator.release(levels[2] ?? '');
    assert.equal(allocator.pod(undefined).process, levels[2]);
  });

  it('are free when the last of a pod is gone, its containers counted', () => {
    const allocator = new SelinuxAllocator(CONTEXTS, 2);
    const { process } = allocator.pod(undefined);
    assert.equal(allocator.container(undefined, process).process, process);
    allocator.release(process); // the container
    assert.throws(() => allocator.pod(undefined), { kind: 'ResourceExhausted' });
    allocator.release(process); // the pod
    assert.equal(allocator.pod(undefined).process, process);
  });

  it('of an earlier daemon are taken', () => {
    const allocator = new SelinuxAllocator(CONTEXTS, 2);
    allocator.reserve(POD);
    assert.throws(() => allocator.pod(undefined), { kind: 'ResourceExhausted' });
  });

  it('have no level where the policy has none', () => {
    const plain = {
      ...CONTEXTS,
      process: 'system_u:system_r:container_t',
      file: 'system_u:object_r:container_file_t',
      hasLevels: false,
    };
    assert.deepEqual(new SelinuxAllocator(plain, 1024).pod(undefined), {
      process: plain.process,
      mount: plain.file,
    });
  });

  it('are none where SELinux is off; a bad level is refused all the same', () => {
    const allocator = new SelinuxAllocator(undefined, 1024);
    assert.deepEqual(allocator.pod(options({ type: 'spc_t' })), { process: '', mount: '' });
    assert.throws(() => allocator.container(options({ level: 's0,c1' }), ''), {
      kind: 'InvalidArgument',
      text: 'selinux_options.level: "s0,c1": use a level such as s0:c1,c2',
    });
  });

  it('are applied to what is neither privileged nor a virtual machine', () => {
    const allocator = new SelinuxAllocator(CONTEXTS, 1024);
    const runc = 'io.containerd.runc.v2';
    const applied = (isPrivileged: boolean, runtimeType: string) =>
      allocator.applied(POD, { isPrivileged, runtimeType });
    assert.equal(applied(false, runc), POD);
    assert.equal(applied(true, runc), '');
    assert.equal(
      applied(false, 'io.containerd.kata-qemu.v2'),
      'system_u:system_r:container_kvm_t:s0:c0,c1',
    );
  });

  for (const level of [
    ...['s0', 's0-s0', 's0:c0', 's0:c0.c3', 's0:c0,c3', 's0-s0:c0,c3.c6,c8.c10', ''],
  ]) {
    it(`takes the level ${JSON.stringify(level)}`, () => checkLevel(options({ level })));
  }
  for (const level of ['s0,c0', 's0:', 'c0', 's0:c0,', 's0:c00000', 's0\n', 's10']) {
    it(`refuses the level ${JSON.stringify(level)}`, () => {
      assert.throws(() => checkLevel(options({ level })), { kind: 'InvalidArgument' });
    });
  }
});

describe('SELinux labels in specs', () => {
  const labels = { process: POD, mount: 'system_u:object_r:container_file_t:s0:c0,c1' };

  it('of a container', () => {
    const spec = translate({ plan: { selinux: labels } });
    assert.equal(at(spec, 'process.selinuxLabel'), labels.process);
    assert.equal(at(spec, 'linux.mountLabel'), labels.mount);
  });

  it('of a privileged container: only its mounts', () => {
    const spec = translate({
      ...security({ privileged: true }),
      plan: { selinux: { ...labels, process: '' } },
    });
    assert.equal(at(spec, 'process.selinuxLabel'), undefined);
    assert.equal(at(spec, 'linux.mountLabel'), labels.mount);
  });

  it('of a pod', () => {
    const spec = translatePod({ plan: { selinux: labels } });
    assert.equal(at(spec, 'process.selinuxLabel'), labels.process);
    assert.equal(at(spec, 'linux.mountLabel'), labels.mount);
  });

  it('are absent where SELinux is off', () => {
    const spec = translate({});
    assert.equal(at(spec, 'process.selinuxLabel'), undefined);
    assert.equal(at(spec, 'linux.mountLabel'), undefined);
  });
});

describe('SELinux of the machine', () => {
  const machine = (files: Readonly<Record<string, string>>): SelinuxContexts | undefined => {
    const root = mkdtempSync(join(tmpdir(), 'selinux-'));
    try {
      for (const [name, content] of Object.entries(files)) {
        mkdirSync(join(root, name, '..'), { recursive: true });
        writeFileSync(join(root, name), content);
      }
      return detectSelinux(root);
    } finally {
      rmSync(root, { recursive: true });
    }
  };
  const LXC = `process = "${CONTEXTS.process}"\ncontent = "x"\nfile = "${CONTEXTS.file}"\n`;

  it('is off without its file system, or a policy for containers', () => {
    assert.equal(machine({}), undefined);
    assert.equal(machine({ 'sys/fs/selinux/enforce': '1' }), undefined);
  });

  it('has the labels of its policy', () => {
    const files = {
      'sys/fs/selinux/enforce': '1',
      'sys/fs/selinux/mls': '1\n',
      'etc/selinux/config': '# SELINUXTYPE=x\nSELINUX=enforcing\nSELINUXTYPE=strict\n',
      'etc/selinux/strict/contexts/lxc_contexts': LXC,
    };
    assert.deepEqual(machine(files), { ...CONTEXTS, kvmProcess: '' });
    const containers = `${LXC}kvm_process = "${CONTEXTS.kvmProcess}"\n`;
    const newer = { ...files, 'usr/share/containers/selinux/contexts': containers };
    assert.deepEqual(machine(newer), CONTEXTS);
  });
});

const isRoot = process.getuid?.() === 0;
describe('relabelling', { skip: !isRoot && 'only root may set labels of SELinux' }, () => {
  it('labels a tree, links themselves and nothing behind them', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'relabel-'));
    try {
      mkdirSync(join(directory, 'volume/a/b'), { recursive: true });
      writeFileSync(join(directory, 'volume/a/b/file'), '');
      mkdirSync(join(directory, 'host'));
      writeFileSync(join(directory, 'host/file'), '');
      symlinkSync('../host', join(directory, 'volume/link'));
      await relabel(join(directory, 'volume'), 'u:r:t:s0');
      using fd = new OwnedFd(openSync(directory, 'r'));
      const label = (name: string) => getXattr(fd.number, name, 'security.selinux')?.toString();
      for (const name of ['volume', 'volume/a', 'volume/a/b', 'volume/a/b/file', 'volume/link']) {
        assert.equal(label(name), 'u:r:t:s0', name);
      }
      for (const name of ['host', 'host/file']) assert.equal(label(name), undefined, name);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('labels what the daemon made, and of mounts those that ask for it', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'relabel-'));
    try {
      for (const name of ['hosts', 'host-file', 'asked']) writeFileSync(join(directory, name), '');
      const path = (name: string) => join(directory, name);
      // The pod mounts a file of the host where the daemon has its own /etc/hosts.
      await relabelAll(
        'u:r:t:s0',
        [path('hosts'), '', path('none')],
        [
          { hostPath: path('host-file'), selinuxRelabel: false },
          { hostPath: path('asked'), selinuxRelabel: true },
        ],
      );
      using fd = new OwnedFd(openSync(directory, 'r'));
      const label = (name: string) => getXattr(fd.number, name, 'security.selinux')?.toString();
      assert.deepEqual(['hosts', 'host-file', 'asked'].map(label), [
        'u:r:t:s0',
        undefined,
        'u:r:t:s0',
      ]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('labels nothing without a label, and no directory of the system', async () => {
    await relabel('/none', '');
    await assert.rejects(relabel('/etc', 'u:r:t:s0'), {
      kind: 'InvalidArgument',
      text: 'selinux_relabel of /etc: not allowed: mount a directory below it',
    });
  });
});
