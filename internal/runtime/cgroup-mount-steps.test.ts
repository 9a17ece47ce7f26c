import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SyscallProgram } from '../linux/index.ts';
import { addCgroupMount, type CgroupView } from './cgroup-mount-steps.ts';
import { planMounts } from './mount-plan.ts';

/** What is shown of cgroup v2 to a container that has this view. */
function shown(view: Partial<CgroupView>): string {
  const mount = {
    destination: '/sys/fs/cgroup',
    type: 'cgroup',
    source: 'cgroup',
    options: ['ro'],
  };
  const plan = planMounts({
    mounts: [mount],
    bundle: '/bundle',
    rootfs: '/bundle/rootfs',
    hasNewCgroupNamespace: view.hasNewNamespace === true,
  });
  const sequence = new SyscallProgram().main;
  const [planned] = [...plan.early, ...plan.late];
  assert.ok(planned !== undefined);
  const context = { root: 9, sourceFds: new Map(), idmapFds: new Map(), finally: [] };
  addCgroupMount(
    sequence,
    planned,
    { isUnified: true, hierarchies: [], paths: {}, hasNewNamespace: false, ...view },
    context as unknown as Parameters<typeof addCgroupMount>[3],
  );
  const steps = sequence.items.map(({ step, options }) => `${step.label}; ${options.label}`);
  return steps.join('\n');
}

test('cgroup v2: a container with a namespace has its file system, one without has its own directory', () => {
  assert.match(shown({ hasNewNamespace: true }), /open file system cgroup2/);
  assert.match(shown({ paths: { '': '/sys/fs/cgroup/own' } }), /bind \/sys\/fs\/cgroup\/own$/m);
});

test('cgroup v2: without namespace and cgroup nothing of the host is shown (CVE-2023-25809)', () => {
  const steps = shown({});
  assert.doesNotMatch(steps, /file system cgroup2|bind/);
  assert.match(steps, /open file system tmpfs/);
});
