// The programs on a machine without Node and without node_modules: a root directory that holds nothing but them, the
// libraries that the loader asks for, and a bundle. PATH is empty.
import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Version } from '../../internal/api/generated/containerd.services.version.v1.ts';
import { defaultSpec } from '../../internal/oci/index.ts';
import { formatJson } from '../../internal/oci/json.ts';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { librariesOf, writeRootfs } from '../fixtures/rootfs.ts';

const bin = join(import.meta.dirname, '../../dist/bin');
const programs = ['tsrunc', 'containerd-shim-tsrunc-v2', 'tscontainerd'] as const;
const unbuilt = programs.filter((name) => !existsSync(join(bin, name)));
const skip = unavailable();

const root = mkdtempSync(join(tmpdir(), 'standalone-'));
after(() => rmSync(root, { recursive: true, force: true }));
if (skip === false) fillRoot();

function unavailable(): false | string {
  if (process.getuid?.() !== 0) return 'chroot needs root';
  return unbuilt.length === 0 ? false : `not built: ${unbuilt.join(', ')}`;
}

function fillRoot(): void {
  for (const directory of ['bin', 'proc', 'sys', 'dev', 'run', 'tmp', 'var/lib']) {
    mkdirSync(join(root, directory), { recursive: true });
  }
  for (const name of programs) {
    const libraries = librariesOf(join(bin, name));
    assert.ok(libraries, `the libraries of ${name} are found`);
    for (const file of libraries) {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      copyFileSync(file, join(root, file));
    }
    copyFileSync(join(bin, name), join(root, 'bin', name));
  }
  const rootfs = join(root, 'bundle/rootfs');
  mkdirSync(rootfs, { recursive: true });
  writeRootfs(rootfs, busyboxRootfs().entries);
  const spec = defaultSpec(existsSync('/sys/fs/cgroup/cgroup.controllers'));
  const args = ['/bin/sh', '-c', 'echo "inside $(hostname)"; exit 5'];
  const container = { ...spec.process, terminal: false, args, rlimits: [] };
  writeFileSync(join(root, 'bundle/config.json'), formatJson({ ...spec, process: container }));
}

/** Shell code that makes the root a machine of its own; its mounts end with the mount namespace it runs in. */
const enter = `set -e
mount --bind ${root} ${root}
mount -t proc proc ${root}/proc
mount --rbind /sys ${root}/sys
mount --rbind /dev ${root}/dev
exec $(command -v env) -i $(command -v chroot) ${root}`;

function inside(argv: readonly string[]): SpawnSyncReturns<string> {
  const script = `${enter} "$@"`;
  const args = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', ...argv];
  return spawnSync('unshare', args, { encoding: 'utf8' });
}

test('the root holds the programs and libraries, and no Node', { skip }, () => {
  assert.deepEqual(readdirSync(join(root, 'bin')).sort(), [...programs].sort());
  const all = readdirSync(root, { recursive: true }).map(String);
  assert.deepEqual(
    all.filter((path) => /(?:^|\/)(?:node|node_modules)$/.test(path)),
    [],
  );
});

for (const [name, flag] of [
  ['tsrunc', '--version'],
  ['containerd-shim-tsrunc-v2', '-v'],
  ['tscontainerd', '--version'],
] as const) {
  test(`${name} ${flag} runs there`, { skip }, () => {
    const run = inside([`/bin/${name}`, flag]);
    assert.equal(run.status, 0, run.stderr);
    assert.equal(run.stderr, '');
    assert.match(run.stdout, /\d+\.\d+\.\d+/);
  });
}

test('tsrunc runs a container there, and gives its exit status', { skip }, () => {
  const id = `standalone-${process.pid}`;
  const run = inside(['/bin/tsrunc', 'run', '--bundle', '/bundle', id]);
  assert.equal(run.stderr, '');
  assert.equal(run.stdout, 'inside tsrunc\n');
  assert.equal(run.status, 5);
});

test('tscontainerd serves there', { skip }, async () => {
  const args = [
    '--address',
    '/run/daemon.sock',
    '--root',
    '/var/lib/daemon',
    '--state',
    '/run/daemon',
  ];
  const script = `${enter} /bin/tscontainerd ${args.join(' ')} --log-level warn`;
  const daemon = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const ended = new Promise((resolve) => daemon.once('exit', resolve));
  try {
    const connection = new GrpcConnection(join(root, 'run/daemon.sock'), 'default');
    const deadline = performance.now() + 20_000;
    let version = '';
    while (version === '' && performance.now() < deadline && daemon.exitCode === null) {
      version = await connection
        .service(Version)
        .version({}, { timeoutMs: 1_000 })
        .then(
          (answer) => answer.version,
          () => '',
        );
      if (version === '') await delay(50);
    }
    connection.close();
    assert.match(version, /^\d+\.\d+\.\d+/);
  } finally {
    daemon.kill('SIGTERM');
    await ended;
  }
});
