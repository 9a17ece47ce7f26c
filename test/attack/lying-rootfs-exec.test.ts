// As lying-rootfs.test.ts, for exec: root of a running container replaces its own dev, proc, sys and files of etc by
// symlinks to places of the host, by other mounts or by files, and then somebody calls exec. Nothing of the host is opened,
// made, changed, chowned or mounted on, whatever exec then says.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Capability } from '../../internal/linux/index.ts';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { fillWatched, lookAt } from '../fixtures/watched-directory.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };
const watched = join(fixture?.directory ?? '', 'watched');

/** Root of this container may do what the runtime itself may: mount and unmount, in its own mount namespace. */
const allCapabilities = (config: Config): void => {
  const names = Object.keys(Capability);
  for (const set of ['bounding', 'effective', 'permitted'])
    config.process.capabilities[set] = names;
  config.linux.maskedPaths = [];
  config.linux.readonlyPaths = [];
};

const UP = '../'.repeat(20);
const TARGETS = {
  absolute: (file: string) => join(watched, file),
  relative: (file: string) => `${UP}${join(watched, file).slice(1)}`,
  'of /proc': (file: string) => `/proc/1/root${join(watched, file)}`,
} as const;

/** Which paths are replaced in one container, and by which file of the watched directory. */
const PLACES: readonly Readonly<Record<string, string>>[] = [
  { '/dev': '', '/proc': '', '/sys': '', '/etc': '' },
  {
    '/dev/null': 'null',
    '/dev/console': 'console',
    '/dev/ptmx': 'ptmx',
    '/dev/pts': 'pts',
    '/etc/passwd': 'passwd',
    '/etc/group': 'group',
    '/tmp': '',
  },
];

/** Whatever is mounted on a path or below goes away first. */
const clear = (path: string) =>
  `while busybox umount -l ${path} 2>/dev/null; do :; done; rm -rf ${path}`;

for (const places of PLACES) {
  for (const [kind, target] of Object.entries(TARGETS)) {
    test(
      `symlinks to the host (${kind}) in the places of ${Object.keys(places).join(', ')}`,
      options,
      () => {
        fillWatched(watched);
        const before = lookAt(watched);
        const id = runtime.newId('lies');
        const script = Object.entries(places).map(
          ([path, file]) => `${clear(path)}; ln -s ${target(file)} ${path}`,
        );
        runtime.startSleeping(id, allCapabilities, `${script.join('\n')}\n: > /ready`);
        waitForReady(id);
        for (const args of [
          ['exec', id, 'true'],
          ['exec', '--user', '1000', '--cwd', '/tmp', id, 'sh', '-c', 'true > /dev/null'],
          ['exec', '--tty', id, 'true'],
        ]) {
          const stderr = execWithNull(args);
          assert.doesNotMatch(stderr, /internal error|stolen/);
        }
        runtime.runDetached(['exec', '--detach', id, 'sleep', '100']);
        const home = runtime.run(['exec', id, 'sh', '-c', 'echo $HOME']).stdout;
        assert.doesNotMatch(home, /stolen/, 'the passwd file of the host was read');
        assert.equal(runtime.run(['delete', '--force', id]).error, '');
        assert.deepEqual(lookAt(watched), before);
        runtime.resetRootfs();
      },
    );
  }
}

/** With /dev/null of the host as its streams, which exec may replace by the container's. */
function execWithNull(args: readonly string[]): string {
  const [program = '', ...prefix] = runtime.command;
  const { stderr } = spawnSync(program, [...prefix, '--root', runtime.stateRoot, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: 30_000,
  });
  return stderr ?? '';
}

function waitForReady(id: string): void {
  const end = Date.now() + 20_000;
  for (;;) {
    try {
      readFileSync(join(runtime.rootfs, 'ready'));
      return;
    } catch {
      const { status } = JSON.parse(runtime.run(['state', id]).stdout) as { status: string };
      assert.equal(status, 'running');
      assert.ok(Date.now() < end, 'not ready');
    }
  }
}

test('/proc of the container is a tmpfs with a fake of what the runtime writes to', options, () => {
  fillWatched(watched);
  const before = lookAt(watched);
  const id = runtime.newId('fake');
  const script = `${clear('/proc')}; mkdir -p /proc; mount -t tmpfs tmpfs /proc; mkdir -p /proc/self/attr/apparmor /proc/self/fd /proc/thread-self
    echo untouched > /proc/self/attr/exec; echo untouched > /proc/self/oom_score_adj; ln -s ${watched}/null /proc/self/exe
    ln -s / /proc/self/fd/3; : > /ready`;
  runtime.startSleeping(
    id,
    (config) => {
      allCapabilities(config);
      config.process.oomScoreAdj = 77;
    },
    script,
  );
  waitForReady(id);
  const seen = runtime.run(['exec', id, 'cat', '/proc/self/attr/exec', '/proc/self/oom_score_adj']);
  assert.deepEqual(
    { stdout: seen.stdout, error: seen.error },
    { stdout: 'untouched\nuntouched\n', error: '' },
  );
  const sleeper = join(runtime.directory, 'exec.pid');
  runtime.runDetached(['exec', '--detach', '--pid-file', sleeper, id, 'sleep', '100']);
  const pid = readFileSync(sleeper, 'utf8');
  assert.equal(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'), '77\n', 'the real one is set');
  assert.equal(
    runtime.run(['exec', '--cwd', '/proc/self/fd/3', id, 'true']).error,
    '',
    'a symlink of the container, inside its root',
  );
  assert.equal(runtime.run(['delete', '--force', id]).error, '');
  assert.deepEqual(lookAt(watched), before);
  mkdirSync(join(runtime.rootfs, 'proc'), { recursive: true });
});
