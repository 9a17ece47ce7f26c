// CreateContainer looks names of users up in the layers of the image: it mounts nothing, and so no unmount syncs the disk
// while other pods are started (containerd/containerd PR 6478, PR 7008).
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CriNode, skipCri } from '../fixtures/cri.ts';
import { peer } from '../peers/index.ts';

const strace = peer('strace');
const skip = skipCri() || strace.skip;
const CALLS = [
  'mount',
  'umount2',
  'fsopen',
  'fsmount',
  'move_mount',
  'open_tree',
  'sync',
  'syncfs',
];

test('CreateContainer mounts and unmounts nothing, for a user by name either', {
  skip,
}, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'create-mounts-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const trace = join(directory, 'trace');
  // -D: strace is not the parent of the daemon, which so gets the signals of the test.
  const wrapper = [
    ...[strace.path, '-D', '-f', '-qq', '-ttt', '-o', trace, '--seccomp-bpf'],
    ...['-e', `trace=${CALLS.join(',')}`],
  ];
  await using node = await CriNode.start({ wrapper });
  const sandboxConfig = node.podConfig();
  const { podSandboxId: pod } = await node.runtime.runPodSandbox({ config: sandboxConfig });
  const config = node.containerConfig('main', 'id -u', {
    linux: { securityContext: { runAsUsername: 'guest' } },
  });
  const fromMs = Date.now();
  const { containerId: id } = await node.runtime.createContainer({
    podSandboxId: pod,
    config,
    sandboxConfig,
  });
  const toMs = Date.now();
  await node.runtime.startContainer({ containerId: id });
  await node.exited(id);
  assert.match(readFileSync(join(node.logs, 'pod-1/main/0.log'), 'utf8'), / stdout F 1000\n/);

  // That the start is in the trace shows that what came before is, too.
  const calls = (from: number, to: number): string[] =>
    readFileSync(trace, 'utf8')
      .split('\n')
      .filter((line) => {
        const atMs = Number(/^\d+ +(\d+\.\d+) /.exec(line)?.[1]) * 1000;
        return atMs >= from && atMs <= to;
      });
  const deadlineMs = performance.now() + 30_000;
  while (calls(toMs, Date.now()).length === 0 && performance.now() < deadlineMs) await delay(50);
  assert.ok(calls(toMs, Date.now()).length > 0, 'no mount of the start is in the trace');
  assert.deepEqual(calls(fromMs, toMs), []);
  await node.remove(pod);
});
