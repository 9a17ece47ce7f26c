// Debian's containerd with its own containerd-shim-runc-v2 and tsrunc in the place of runc: what ctr asks of a runtime.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { locateCgroup, openCgroup } from '../../internal/cgroups/index.ts';
import { runBlocking } from '../../internal/linux/index.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { cgroupsNamed, needsRoot, tsruncProgram } from '../fixtures/runtime-bundle.ts';
import { sharedRootfs } from '../fixtures/shim.ts';

const KINDS = [
  ['containerd-2.1', 'ctr-2.1'],
  ['containerd-1.6', 'ctr-1.6'],
] as const;

const directory = mkdtempSync(join(tmpdir(), 'runtime-containerd-'));
after(() => rmSync(directory, { recursive: true, force: true }));

for (const [kind, ctr] of KINDS) {
  const skip = needsRoot || skipWithout(kind);
  test(`${kind} with its own shim and tsrunc`, { skip }, async (t) => {
    await using daemon = await TestDaemon.start(kind);
    const namespace = `runtime-${process.pid}-${ctr}`;
    const root = join(directory, `root-${ctr}`);
    const runtime = ['--runc-binary', tsruncProgram(directory), '--runc-root', root];
    t.after(() => {
      // The namespace's own cgroup, which stays as with runc.
      runBlocking(
        openCgroup(locateCgroup({ id: '', cgroupsPath: `/${namespace}` }).paths).remove(),
      );
    });
    const call = (...args: string[]) => daemon.ctr(ctr, ['--namespace', namespace, ...args]);
    /** Runs a container to its end and checks that nothing of it is left. */
    const run = (id: string, flags: readonly string[], script: string) => {
      const target = [sharedRootfs(), id, '/bin/sh', '-c', script];
      const result = call('run', '--rm', '--rootfs', ...runtime, ...flags, ...target);
      assert.deepEqual(cgroupsNamed(id), [], result.stderr);
      assert.deepEqual(existsSync(join(root, namespace)) && readdirSync(join(root, namespace)), []);
      return result;
    };

    await t.test('output and exit code', () => {
      const { status, stdout, stderr } = run('plain', [], 'echo out; echo err >&2; exit 7');
      assert.deepEqual({ status, stdout }, { status: 7, stdout: 'out\n' }, stderr);
      assert.match(stderr, /err/);
    });

    await t.test('the default seccomp profile of containerd', () => {
      const script =
        'grep -E "^(Seccomp|NoNewPrivs):" /proc/self/status; rm -rf /tmp/m; mkdir /tmp/m; echo $?; ' +
        'mount -t tmpfs t /mnt 2>/dev/null || echo no mount; ls / >/dev/null; date >/dev/null; echo end';
      const { status, stdout, stderr } = run('filtered', ['--seccomp'], script);
      assert.equal(status, 0, stderr);
      assert.equal(stdout, 'NoNewPrivs:\t1\nSeccomp:\t2\n0\nno mount\nend\n');
    });

    await t.test('privileged: all capabilities and devices', () => {
      const script = 'grep CapEff /proc/self/status; [ -c /dev/null ]; echo $?';
      const { stdout, stderr } = run('privileged', ['--privileged'], script);
      assert.match(stdout, /^CapEff:\t0000(01[0-9a-f]+|00ffffffffff|003f{9})\n0\n$/, stderr);
    });

    await t.test('memory limit, environment, working directory, read-only root', () => {
      const flags = [
        '--memory-limit',
        '67108864',
        '--env',
        'A=b c',
        '--cwd',
        '/tmp',
        '--read-only',
      ];
      const script =
        'tail /dev/zero; echo $?; echo "$A"; pwd; touch /x 2>/dev/null || echo read-only';
      const { stdout, stderr } = run('limited', flags, script);
      assert.equal(stdout, '137\nb c\n/tmp\nread-only\n', stderr);
    });

    await t.test('a program that is not there: the error names it', () => {
      const target = [sharedRootfs(), 'missing', '/no/such/program'];
      const { status, stderr } = call('run', '--rm', '--rootfs', ...runtime, ...target);
      assert.notEqual(status, 0);
      assert.match(stderr, /\/no\/such\/program/);
      assert.deepEqual(cgroupsNamed('missing'), []);
    });

    await t.test('detached: exec, ps, pause, resume, kill, delete', (t) => {
      const long = `long-${process.pid}`;
      const script = 'trap "exit 9" TERM; while :; do sleep 0.1; done';
      const target = [sharedRootfs(), long, '/bin/sh', '-c', script];
      t.after(() => {
        call('tasks', 'delete', '--force', long);
        call('containers', 'rm', long);
      });
      const started = call('run', '-d', '--rootfs', ...runtime, ...target);
      assert.equal(started.status, 0, started.stderr);
      const exec = call('tasks', 'exec', '--exec-id', 'e1', long, '/bin/echo', 'inside');
      assert.equal(exec.stdout, 'inside\n', exec.stderr);
      assert.match(call('tasks', 'ps', long).stdout, /PID/);
      assert.equal(call('tasks', 'pause', long).status, 0);
      assert.match(call('tasks', 'ls').stdout, /PAUSED/);
      assert.equal(call('tasks', 'resume', long).status, 0);
      assert.match(call('tasks', 'ls').stdout, /RUNNING/);
      assert.equal(call('tasks', 'kill', '--signal', 'SIGTERM', long).status, 0);
      const deleted = call('tasks', 'delete', '--force', long);
      // Its own exit, or the kill that --force sends if that was faster.
      assert.match(deleted.stderr, /exit code (9|137)"/);
      assert.equal(call('containers', 'rm', long).status, 0);
      assert.deepEqual(cgroupsNamed(long), []);
    });
  });
}
