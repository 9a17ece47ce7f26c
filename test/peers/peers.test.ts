import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { defaultSpec, formatJson } from '../../internal/oci/index.ts';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { writeRootfs } from '../fixtures/rootfs.ts';
import { peer } from './index.ts';
import type { PeerName } from './packages.ts';

// Each peer is started: a library that is missing, or a loader that was not changed well, shows here and not in a test
// of something else.
const versions: [PeerName, string[], RegExp][] = [
  ['containerd-2.1', ['--version'], /^containerd .* 2\./],
  ['ctr-2.1', ['--version'], /^ctr .* 2\./],
  ['containerd-shim-runc-v2-2.1', ['-v'], /containerd-shim-runc-v2:\n +Version: +2\./],
  ['containerd-1.6', ['--version'], /^containerd .* 1\.6\./],
  ['ctr-1.6', ['--version'], /^ctr .* 1\.6\./],
  ['containerd-shim-runc-v2-1.6', ['-v'], /containerd-shim-runc-v2:\n +Version: +1\.6\./],
  ['runc-1.3', ['--version'], /^runc version 1\./],
  ['runc-1.1', ['--version'], /^runc version 1\.1\./],
  ['crun', ['--version'], /^crun version 1\./],
  ['criu', ['--version'], /^Version: 4\./],
  ['recvtty', ['--version'], /^recvtty version /],
  ['crictl', ['--version'], /^crictl version 1\.36\.0$/m],
  ['critest', ['-version'], /^critest version: 1\.36\.0$/m],
  ['kubectl', ['version', '--client'], /^Client Version: v1\.3/],
  ['kubectl-1.20', ['version', '--client'], /GitVersion:"v1\.20/],
  ['cni-bridge', ['version'], /^CNI bridge plugin /m],
  ['docker-registry', ['--version'], /distribution/],
  ['busybox', ['--help'], /^BusyBox v/],
  ['mkfs-btrfs', ['--version'], /^mkfs.btrfs, part of btrfs-progs v/m],
  ['dmsetup', ['help'], /^Usage:/m], // 'version' would leave /dev/mapper on a machine without it
  ['time', ['--version'], /GNU Time/],
  ['strace', ['--version'], /^strace -- version /],
  ['objdump', ['--version'], /^GNU objdump /],
  ['objdump-aarch64', ['--version'], /^GNU objdump /],
  ['readelf', ['--version'], /^GNU readelf /],
  ['qemu-aarch64', ['--version'], /^qemu-aarch64 version /],
];
for (const [name, args, expected] of versions) {
  const { path, env, skip } = peer(name);
  test(`peer ${name} runs here`, { skip }, () => {
    const run = spawnSync(path, args, { env, encoding: 'utf8' });
    assert.match(`${run.stdout}${run.stderr}`, expected);
  });
}

const runtimes = ['runc-1.3', 'runc-1.1', 'crun'] as const;
for (const name of runtimes) {
  const { path, env, skip } = peer(name);
  const why = skip || (process.getuid?.() === 0 ? false : 'containers need root here');
  // A runtime executes itself again in new namespaces, with the loader and the libraries that it was given.
  test(`peer ${name} runs a container`, { skip: why }, () => {
    const dir = mkdtempSync(join(tmpdir(), 'peer-'));
    try {
      mkdirSync(join(dir, 'rootfs'));
      writeRootfs(join(dir, 'rootfs'), busyboxRootfs().entries);
      const spec = defaultSpec(existsSync('/sys/fs/cgroup/cgroup.controllers'));
      const args = ['/bin/sh', '-c', 'echo inside; exit 3'];
      const container = { ...spec.process, terminal: false, args, rlimits: [] };
      writeFileSync(join(dir, 'config.json'), formatJson({ ...spec, process: container }));
      const argv = ['--root', join(dir, 'state'), 'run', '--bundle', dir, `peer-${process.pid}`];
      const run = spawnSync(path, argv, { env, encoding: 'utf8' });
      assert.deepEqual([run.status, run.stdout, run.stderr], [3, 'inside\n', '']);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
}
