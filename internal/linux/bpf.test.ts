import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  attachDeviceProgram,
  attachedDevicePrograms,
  detachDeviceProgram,
  loadDeviceProgram,
} from './bpf.ts';
import { bpfInstruction as bpf } from './bpf-instructions.ts';
import { readMountInfo } from './mountinfo.ts';
import { needsRoot, runInChild } from './program/child-run.fixture.ts';
import { open } from './steps/files.ts';

const answer = (value: number) => Buffer.concat([bpf.set(0, value), bpf.exit()]);

/** A cgroup v2 hierarchy, of a hybrid machine too. */
const hierarchy = readMountInfo().find(({ type }) => type === 'cgroup2')?.mountPoint;

const skip = ((): string | false => {
  if (needsRoot !== false) return needsRoot;
  if (hierarchy === undefined) return 'no cgroup v2 is mounted';
  try {
    loadDeviceProgram(answer(1)).close();
    return false;
  } catch (thrown) {
    return `the kernel loads no eBPF: ${String(thrown)}`;
  }
})();

test('device programs: attached one denies, another takes its place, none is left', {
  skip,
}, () => {
  const cgroup = mkdtempSync(join(hierarchy ?? '', 'linux-bpf-test-'));
  const directory = openSync(cgroup, 'r');
  /** What a process that is born in the cgroup gets when it opens a device. */
  const openDevice = () =>
    runInChild((child) => child.add(open({ path: '/dev/zero', flags: ['O_RDONLY'] })), {
      cgroup: directory,
    }).failure?.message;
  try {
    assert.deepEqual(attachedDevicePrograms(directory), []);
    assert.equal(openDevice(), undefined);
    using deny = loadDeviceProgram(answer(0));
    attachDeviceProgram(directory, deny);
    assert.equal(openDevice(), 'open /dev/zero: EPERM');

    const [attached, ...others] = attachedDevicePrograms(directory);
    assert.ok(attached);
    assert.deepEqual(others, []);
    using allow = loadDeviceProgram(answer(1));
    attachDeviceProgram(directory, allow, attached);
    attached.close();
    assert.equal(openDevice(), undefined);
    detachDeviceProgram(directory, allow);
    assert.deepEqual(attachedDevicePrograms(directory), []);
    assert.throws(() => detachDeviceProgram(directory, allow), {
      message: 'detach device program: ENOENT',
    });
  } finally {
    closeSync(directory);
    rmdirSync(cgroup);
  }
});

test('loadDeviceProgram: what the verifier refuses is said in its words', { skip }, () => {
  assert.throws(() => loadDeviceProgram(bpf.set(1, 0)), {
    message: /^load device program: .+: EINVAL$/,
  });
  assert.throws(() => loadDeviceProgram(bpf.exit()), { message: /R0 !read_ok|processed/ });
});
