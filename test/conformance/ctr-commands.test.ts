// The unmodified ctr, command by command, on our daemon and on containerd 2.1, with the same shim and runtime under both:
// exit status and output must be the same, apart from ids, times and the daemon's directory.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { type DaemonKind, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { buildImage, imageArchive } from '../fixtures/oci-image.ts';

import { peer } from '../peers/index.ts';

const IMAGE = 'docker.io/library/host:latest';

interface Command {
  readonly args: string;
  /** `status`: only the exit status is compared, since the output is in no order, or our text says more than
   * containerd's (the object, what to do). */
  readonly compare?: 'status';
  /** Only in the newer ctr. */
  readonly since?: 'ctr-2.1';
}

/** Run in this order: each builds on those before. @IMAGE, @ARCHIVE, @OUT and @CHAIN are put in. */
const COMMANDS: readonly Command[] = [
  { args: 'images import @ARCHIVE', compare: 'status' },
  { args: 'images import --local @ARCHIVE', since: 'ctr-2.1' },
  { args: 'images ls' },
  { args: 'images check' },
  { args: 'images inspect @IMAGE', since: 'ctr-2.1' },
  { args: 'images usage @IMAGE', since: 'ctr-2.1' },
  { args: 'images export @OUT @IMAGE' },
  { args: 'images tag @IMAGE docker.io/library/host:two' },
  { args: 'images tag @IMAGE docker.io/library/host:two' },
  { args: 'images label docker.io/library/host:two a=b' },
  { args: 'images ls name~=two' },
  { args: 'images rm docker.io/library/missing:1' },
  { args: 'snapshots ls' },
  { args: 'snapshots tree' },
  { args: 'snapshots prepare k1 @CHAIN' },
  { args: 'snapshots prepare k1 @CHAIN' },
  { args: 'snapshots prepare k2 missing' },
  { args: 'snapshots label k1 containerd.io/gc.root=1' },
  { args: 'snapshots commit c1 k1' },
  { args: 'snapshots label c1 containerd.io/gc.root=1' },
  { args: 'snapshots ls' },
  { args: 'snapshots rm @CHAIN', compare: 'status' },
  { args: 'snapshots rm missing' },
  { args: 'snapshots rm c1' },
  { args: 'content ls -q' },
  { args: 'content get sha256:0000000000000000000000000000000000000000000000000000000000000000' },
  { args: 'containers create @IMAGE c1 /bin/sh' },
  { args: 'containers create @IMAGE c1 /bin/sh' },
  { args: 'containers create docker.io/library/missing:1 c2 /bin/sh' },
  { args: 'containers create @IMAGE bad/id /bin/sh' },
  { args: 'containers label c1 foo=bar', compare: 'status' },
  { args: 'containers ls' },
  { args: 'containers info --spec c1' },
  { args: 'containers rm c1' },
  { args: 'containers rm c1' },
  { args: 'run --rm @IMAGE r1 /bin/echo hello' },
  { args: 'run --rm @IMAGE r1 /bin/sh -c false' },
  { args: 'run --rm @IMAGE r1 /nonexistent', compare: 'status' },
  { args: 'run --rm --runtime io.containerd.nope.v2 @IMAGE r1 /bin/sh', compare: 'status' },
  { args: 'run --rm --snapshotter native @IMAGE r1 /bin/echo native' },
  { args: 'run -d @IMAGE r2 /bin/sleep 1000' },
  { args: 'run -d @IMAGE r2 /bin/sleep 1000' },
  { args: 'containers rm r2' },
  { args: 'tasks exec --exec-id e1 r2 /bin/echo execd' },
  { args: 'tasks exec --exec-id e1 r2 /bin/sh -c false' },
  { args: 'tasks pause r2' },
  { args: 'tasks ls' },
  { args: 'tasks resume r2' },
  { args: 'tasks rm r2' },
  { args: 'tasks kill -s SIGKILL r2' },
  { args: 'tasks rm missing' },
  { args: 'leases create --id l1 a=b' },
  { args: 'leases create --id l1' },
  { args: 'leases ls' },
  { args: 'leases rm l1' },
  { args: 'leases rm l1' },
  { args: 'namespaces ls' },
  { args: 'namespaces create tenant b=c' },
  { args: 'namespaces ls' },
  { args: 'namespaces rm tenant' },
  { args: 'deprecations list', since: 'ctr-2.1' },
  { args: 'plugins ls type==io.containerd.content.v1' },
];

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What differs from run to run for no reason that matters. */
function normalize(text: string, daemon: TestDaemon, namespace: string): string {
  return text
    .replaceAll(daemon.directory, 'DIRECTORY')
    .replaceAll(namespace, 'NAMESPACE')
    .replace(/\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z| \+0000 UTC)?/g, 'TIME')
    .replace(/elapsed:.*/g, 'elapsed')
    .replace(/^(r2\s+)\d+/gm, '$1PID');
}

for (const version of ['ctr-2.1', 'ctr-1.6'] as const) {
  const containerd = skipWithout('containerd-2.1');
  const skip = containerd || skipWithout('tscontainerd') || peer(version).skip;
  describe(`${version} on containerd and on tscontainerd`, { skip }, () => {
    const directory = mkdtempSync(join(tmpdir(), 'ctr-commands-'));
    const daemons: TestDaemon[] = [];
    const places = new Map([
      ['@IMAGE', IMAGE],
      ['@ARCHIVE', join(directory, 'image.tar')],
      ['@OUT', join(directory, 'out.tar')],
    ]);
    before(async () => {
      mkdirSync(directory, { recursive: true });
      const image = await buildImage({
        name: IMAGE,
        layers: [busyboxRootfs().entries],
        config: { Cmd: ['/bin/sh'] },
      });
      writeFileSync(join(directory, 'image.tar'), await imageArchive(image));
      const config = JSON.parse(String(image.blobs.get(image.configDigest)));
      places.set('@CHAIN', config.rootfs.diff_ids[0]); // one layer: its chain ID is its diff ID
      // Both find the same shim and runtime.
      const env = { PATH: peer('containerd-shim-runc-v2-2.1').env['PATH'] ?? '' };
      for (const kind of ['containerd-2.1', 'tscontainerd'] satisfies DaemonKind[]) {
        daemons.push(await TestDaemon.start(kind, { env }));
      }
    });
    after(async () => {
      for (const [index, daemon] of daemons.entries()) {
        daemon.ctr(version, ['-n', namespaceOf(index), 'tasks', 'rm', '-f', 'r2']);
        await daemon[Symbol.asyncDispose]();
        rmSync(`/run/containerd/runc/${namespaceOf(index)}`, { recursive: true, force: true });
      }
      rmSync(directory, { recursive: true, force: true });
    });
    // Below one root of runc, which shims of both daemons use, the namespaces must differ.
    const namespaceOf = (index: number): string => `ctr${process.pid}n${index}`;
    const run = (index: number, args: readonly string[]): Result => {
      const daemon = daemons[index];
      assert.ok(daemon !== undefined);
      const namespace = namespaceOf(index);
      const { status, stdout, stderr } = daemon.ctr(version, ['-n', namespace, ...args]);
      const clean = (text: string): string => normalize(text, daemon, namespace);
      return { status, stdout: clean(stdout), stderr: clean(stderr) };
    };

    for (const { args, compare, since } of COMMANDS) {
      if (since !== undefined && since !== version) continue;
      test(`ctr ${args}`, () => {
        const words = args.split(' ').map((word) => places.get(word) ?? word);
        const [theirs, ours] = [run(0, words), run(1, words)];
        if (compare === 'status') assert.equal(ours.status, theirs.status, ours.stderr);
        else assert.deepEqual(ours, theirs);
      });
    }
  });
}
