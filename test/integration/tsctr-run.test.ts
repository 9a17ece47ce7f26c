// `tsctr run`, `exec` and `attach` as a person uses them: on a terminal, with signals, by pipes, on both daemons.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { type DaemonKind, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { removeNamespaceTraces } from '../fixtures/namespace-traces.ts';
import { buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { skipWithoutTsctr, startTsctr, tsctr, tsctrCommandLine } from '../fixtures/tsctr.ts';
import { peer } from '../peers/index.ts';

const IMAGE = 'docker.io/library/host:latest';
const noScript = existsSync('/usr/bin/script') ? false : 'no program "script"';

/** What a child writes, and its end. */
function followed(child: ChildProcess) {
  let text = '';
  const waiting: { pattern: RegExp; resolve: () => void }[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      for (const { pattern, resolve } of waiting) if (pattern.test(text)) resolve();
    });
  }
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return {
    ended,
    get text() {
      return text;
    },
    /** Waits until the output matches. */
    seen: (pattern: RegExp) =>
      new Promise<void>((resolve, reject) => {
        waiting.push({ pattern, resolve });
        if (pattern.test(text)) resolve();
        void ended.then(() => reject(new Error(`ended without ${pattern}: ${text}`)));
      }),
  };
}

for (const kind of ['containerd-2.1', 'tscontainerd'] satisfies DaemonKind[]) {
  const skip =
    skipWithout(kind) ||
    skipWithoutTsctr ||
    peer('containerd-shim-runc-v2-2.1').skip ||
    peer('runc-1.3').skip;
  describe(kind, { skip }, () => {
    const dir = mkdtempSync(join(tmpdir(), 'tsctr-run-'));
    const namespace = `tsctr${process.pid}${kind === 'tscontainerd' ? 't' : 'c'}`;
    const fifos = join(dir, 'fifos');
    let daemon: TestDaemon;
    const global = () => ['-a', daemon.address, '-n', namespace];
    const run = (args: string[], input?: string | Buffer) =>
      tsctr([...global(), ...args], input === undefined ? {} : { input });
    before(async () => {
      const env = { PATH: peer('containerd-shim-runc-v2-2.1').env['PATH'] ?? '' };
      daemon = await TestDaemon.start(kind, { env });
      const layers = [busyboxRootfs().entries];
      const image = await buildImage({ name: IMAGE, layers, config: { Cmd: ['/bin/sh'] } });
      writeFileSync(join(dir, 'image.tar'), await imageArchive(image));
      assert.equal(run(['images', 'import', join(dir, 'image.tar')]).stdout, `${IMAGE}\n`);
    });
    after(async () => {
      if (daemon === undefined) return;
      for (const id of run(['tasks', 'ls', '-q']).stdout.split('\n').filter(Boolean)) {
        run(['tasks', 'rm', '-f', id]);
      }
      await daemon[Symbol.asyncDispose]();
      removeNamespaceTraces(namespace);
      rmSync(dir, { recursive: true, force: true });
    });

    test('run --rm: output apart, exit code, and nothing is left', () => {
      const script = 'echo out; echo err >&2; exit 3';
      const args = ['run', '--rm', '--fifo-dir', fifos, IMAGE, 'a', '/bin/sh', '-c', script];
      assert.deepEqual(run(args), { status: 3, stdout: 'out\n', stderr: 'err\n' });
      assert.equal(run(['containers', 'ls', '-q']).stdout, '');
      assert.doesNotMatch(run(['snapshots', 'ls']).stdout, /^a /m);
      assert.deepEqual(readdirSync(fifos), []);
    });

    test('a megabyte through stdin and stdout, to the last byte', () => {
      const input = Buffer.alloc(1 << 20, 'abcdefghijklmnop\n');
      const { status, stdout } = run(['run', '--rm', IMAGE, 'b', '/bin/cat'], input);
      assert.equal(status, 0);
      assert.ok(Buffer.from(stdout).equals(input), `${stdout.length} bytes came back`);
    });

    test('what fails to start leaves neither task nor container', () => {
      const { status, stderr } = run(['run', '--rm', IMAGE, 'c', '/nonexistent']);
      assert.equal(status, 1);
      assert.match(stderr, /^tsctr: .*\/nonexistent.*no such file or directory/);
      assert.equal(run(['containers', 'ls', '-q']).stdout, '');
      assert.equal(run(['tasks', 'ls', '-q']).stdout, '');
    });

    test('--env-file, --pid-file, --log-uri', () => {
      const [env, pid, log] = ['env', 'pid', 'log'].map((name) => join(dir, name)) as [
        string,
        string,
        string,
      ];
      writeFileSync(env, '# comment\nFROM_FILE=1\n\n');
      const args = [
        'run',
        '--rm',
        '--env-file',
        env,
        '--pid-file',
        pid,
        '--log-uri',
        `file://${log}`,
      ];
      assert.equal(run([...args, IMAGE, 'd', '/bin/sh', '-c', 'echo $FROM_FILE']).status, 0);
      assert.match(readFileSync(pid, 'utf8'), /^\d+$/);
      assert.equal(readFileSync(log, 'utf8'), '1\n');
    });

    test('signals reach the process, its exit code comes back', async () => {
      const script = 'trap "echo got term; exit 5" TERM; echo ready; while :; do sleep 0.1; done';
      const args = [...global(), 'run', '--rm', IMAGE, 'e', '/bin/sh', '-c', script];
      const child = startTsctr(args, { stdio: ['ignore', 'pipe', 'pipe'] });
      const output = followed(child);
      await output.seen(/ready/);
      child.kill('SIGTERM');
      assert.equal(await output.ended, 5);
      assert.equal(output.text, 'ready\ngot term\n');
    });

    test('run -d, then attach: what it writes from then on, and its exit code', async () => {
      const script = 'read line; echo "read $line"; exit 4';
      assert.equal(
        run(['run', '-d', '--fifo-dir', fifos, IMAGE, 'f', '/bin/sh', '-c', script]).status,
        0,
      );
      const child = startTsctr([...global(), 'tasks', 'attach', 'f'], {
        stdio: ['pipe', 'pipe', 'pipe'],
      });
      const output = followed(child);
      child.stdin?.write('hello\n');
      assert.equal(await output.ended, 4);
      assert.equal(output.text, 'read hello\n');
      assert.equal(run(['containers', 'rm', 'f']).status, 0);
    });

    test('-t without a terminal says so', () => {
      const { status, stderr } = run(['run', '--rm', '-t', IMAGE, 'g', '/bin/sh']);
      assert.equal(status, 1);
      assert.equal(
        stderr,
        'tsctr: standard input is not a terminal: leave out --tty, or run it in a terminal\n',
      );
      assert.equal(run(['containers', 'ls', '-q']).stdout, '');
    });

    /** Runs the client on a terminal of 100 columns and 30 rows. */
    const onTerminal = (args: string[], input: string) => {
      const line = `stty cols 100 rows 30; ${tsctrCommandLine([...global(), ...args])}`;
      return spawnSync('/usr/bin/script', ['-qec', line, '/dev/null'], {
        encoding: 'utf8',
        input,
        timeout: 60_000,
        env: { ...process.env, SHELL: '/bin/bash' },
      });
    };

    test('run -t: a terminal of the size of ours', { skip: noScript }, () => {
      const script = 'tty; sleep 0.5; stty size; exit 6';
      const { status, stdout } = onTerminal(
        ['run', '--rm', '-t', IMAGE, 'h', '/bin/sh', '-c', `'${script}'`],
        '',
      );
      assert.match(stdout, /\/dev\/pts\/0\r\n[^0-9]*30 100\r\n/);
      assert.equal(status, 6);
    });

    test('exec -t: keys go to the container as they are', {
      skip: noScript,
      timeout: 60_000,
    }, async () => {
      assert.equal(run(['run', '-d', '--null-io', IMAGE, 'i', '/bin/sleep', '1000']).status, 0);
      const args = [...global(), 'tasks', 'exec', '-t', 'i', '/bin/sh'];
      const child = spawn('/usr/bin/script', ['-qec', tsctrCommandLine(args), '/dev/null'], {
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { ...process.env, SHELL: '/bin/bash' },
      });
      const output = followed(child);
      await output.seen(/[#$] /);
      // ^C is a byte for the shell in the container, not a signal for the client.
      // Only once it runs: at its prompt the shell takes ^C for a key of its line editor.
      child.stdin.write('echo be""gun; sleep 100\n');
      await output.seen(/begun/);
      child.stdin.write('\x03');
      child.stdin.write('echo still $((40+2)); exit 9\n');
      assert.equal(await output.ended, 9);
      assert.match(output.text, /still 42/);
      assert.equal(run(['tasks', 'rm', '-f', 'i']).status, 0);
      assert.equal(run(['containers', 'rm', 'i']).status, 0);
    });

    test('exec without --exec-id gets one of its own', () => {
      assert.equal(run(['run', '-d', '--null-io', IMAGE, 'j', '/bin/sleep', '1000']).status, 0);
      const one = run(['tasks', 'exec', 'j', '/bin/sh', '-c', 'echo $0; exit 2', 'x']);
      assert.deepEqual(one, { status: 2, stdout: 'x\n', stderr: '' });
      assert.match(run(['tasks', 'ps', 'j']).stdout, /^PID +INFO\n\d+ +-\n$/);
      assert.equal(run(['tasks', 'rm', '-f', 'j']).status, 0);
      assert.equal(run(['containers', 'rm', 'j']).status, 0);
    });

    test('a --rootfs directory instead of an image', async () => {
      const rootfs = join(dir, 'rootfs');
      const mounted = run(['images', 'mount', '--rw', IMAGE, rootfs]);
      assert.equal(mounted.status, 0, mounted.stderr);
      try {
        const args = ['run', '--rm', '--rootfs', rootfs, 'k', '/bin/echo', 'from a directory'];
        assert.deepEqual(run(args), { status: 0, stdout: 'from a directory\n', stderr: '' });
      } finally {
        assert.equal(run(['images', 'unmount', '--rm', rootfs]).status, 0);
      }
      assert.deepEqual(readdirSync(rootfs), []);
    });
  });
}
