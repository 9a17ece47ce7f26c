// Every kind of system call that makes a container fails, at its first use, at its second and so on: `run` and `exec`
// say which step it was, and nothing is left behind. strace(1) makes the calls fail.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { needsRoot, RuntimeFixture, tsruncCommand } from '../fixtures/runtime-bundle.ts';
import { peer } from '../peers/index.ts';

const strace = peer('strace');
const [program = '', ...rest] = tsruncCommand();
const skip =
  needsRoot !== false
    ? needsRoot
    : strace.skip !== false
      ? strace.skip
      : rest.length > 0
        ? 'tsrunc is not built'
        : false;
const options = { skip };
const runtime = (skip === false ? new RuntimeFixture() : undefined) as RuntimeFixture;
// The container for exec has a root of its own, so that its processes are not taken for leftovers.
const sleeping = (skip === false ? new RuntimeFixture() : undefined) as RuntimeFixture;
const id = skip === false ? sleeping.newId('exec') : '';
before(() => {
  if (skip === false) sleeping.startSleeping(id);
});
after(() => {
  if (skip !== false) return;
  runtime[Symbol.dispose]();
  sleeping[Symbol.dispose]();
});

/** The runtime with the `nth` use of a system call failing, in each of its processes. */
function faulty(call: string, nth: number): string[] {
  const inject = `inject=${call}:error=EIO:when=${nth}`;
  const trace = ['-f', '-qq', '--seccomp-bpf', '-e', `trace=${call}`, '-e', inject];
  return [strace.path, ...trace, '-o', '/dev/null', '--', program];
}

/**
 * Calls that the container's own process makes, most of them it alone, with the greatest number of uses to try. What
 * Node itself calls all the time (read, openat, mmap) would say nothing about the runtime.
 */
const CALLS: Readonly<Record<string, number>> = {
  setsid: 1,
  keyctl: 1,
  close_range: 1,
  umask: 2,
  mount: 3,
  open_tree: 12,
  move_mount: 24,
  fsopen: 10,
  fsconfig: 30,
  fsmount: 10,
  mount_setattr: 20,
  openat2: 40,
  mkdirat: 10,
  mknodat: 7,
  symlinkat: 6,
  pivot_root: 1,
  umount2: 1,
  fchdir: 4,
  chdir: 2,
  sethostname: 1,
  capset: 1,
  setresuid: 1,
  setresgid: 1,
  setgroups: 1,
  faccessat2: 3,
};

for (const [call, most] of Object.entries(CALLS)) {
  test(`run: each of the first ${most} uses of ${call} fails`, options, () => {
    runtime.configure();
    let failures = 0;
    for (let nth = 1; nth <= most; nth++) {
      const container = runtime.newId();
      const { status, error } = runtime.run(['run', container], { command: faulty(call, nth) });
      const where = `${call} ${nth}`;
      assert.deepEqual(runtime.leftovers(container), [], where);
      if (status === 0) continue; // fewer uses than that, or of a process that does not matter
      failures++;
      assert.equal(status, 1, where);
      assert.match(error, /EIO/, where);
      assert.doesNotMatch(error, /internal error|died before/, where);
    }
    assert.ok(failures > 0, `no ${call} has failed`);
  });
}

const EXEC_CALLS: Readonly<Record<string, number>> = {
  setns: 1,
  setsid: 1,
  close_range: 1,
  openat2: 3,
  fchdir: 1,
  capset: 1,
  setresuid: 1,
  setgroups: 1,
  faccessat2: 1,
};

for (const [call, most] of Object.entries(EXEC_CALLS)) {
  test(`exec: each of the first ${most} uses of ${call} fails`, options, () => {
    const processes = () => sleeping.run(['ps', '--format', 'json', id]).stdout;
    const before = processes();
    let failures = 0;
    for (let nth = 1; nth <= most; nth++) {
      const { status, error } = sleeping.run(['exec', id, 'true'], { command: faulty(call, nth) });
      if (status === 0) continue;
      failures++;
      assert.equal(status, 255, `${call} ${nth}`);
      assert.match(error, /EIO/, `${call} ${nth}`);
    }
    assert.ok(failures > 0, `no ${call} has failed`);
    assert.equal(processes(), before);
  });
}
