// The unmodified ctr, command by command, on our daemon and on containerd 2.1, with the same shim and runtime under both:
// exit status and output must be the same, apart from ids, times and the daemon's directory.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { type DaemonKind, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { DockerRegistry } from '../fixtures/docker-registry.ts';
import { removeNamespaceTraces } from '../fixtures/namespace-traces.ts';
import { buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { peer } from '../peers/index.ts';

const IMAGE = 'docker.io/library/host:latest';

interface Command {
  readonly args: string;
  /** `status`: only the exit status is compared, since the output is in no order, or our text says more than
   * containerd's (the object, what to do). */
  readonly compare?: 'status';
  readonly input?: string;
  /** Compared when both collectors are through with what the commands before have left. */
  readonly isSettled?: true;
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
  // Before anything is removed: a collection would take what has no reference yet.
  { args: 'snapshots view v1 @CHAIN' },
  { args: 'snapshots label v1 containerd.io/gc.root=1' },
  { args: 'snapshots mounts /target v1' },
  { args: 'snapshots mounts /target missing' },
  { args: 'snapshots diff v1', compare: 'status' },
  { args: 'snapshots rm v1' },
  { args: 'snapshots ls' },
  { args: 'snapshots rm @CHAIN', compare: 'status' },
  { args: 'snapshots rm missing' },
  { args: 'snapshots rm c1' },
  { args: 'content ls -q', isSettled: true },
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
  { args: 'namespaces label tenant d=e' },
  { args: 'namespaces create tenant2' },
  { args: 'namespaces label tenant2 d=e' },
  { args: 'namespaces ls' },
  { args: 'namespaces rm tenant2' },
  { args: 'namespaces rm missing' },
  { args: 'version' },
  { args: 'info' },
  { args: 'oci spec' },
  { args: 'plugins inspect-runtime', since: 'ctr-2.1' },
  {
    args: 'plugins inspect-runtime --runtime io.containerd.nope.v2',
    since: 'ctr-2.1',
    compare: 'status',
  },
  { args: 'install @IMAGE', compare: 'status' },
  { args: 'images push --plain-http @REGISTRY/host:1 @IMAGE', compare: 'status' },
  { args: 'images push --plain-http @REGISTRY/host:1 missing', compare: 'status' },
  { args: 'images pull --plain-http @REGISTRY/host:1', compare: 'status' },
  { args: 'images pull --plain-http @REGISTRY/missing:1', compare: 'status' },
  { args: 'images usage @REGISTRY/host:1', since: 'ctr-2.1' },
  { args: 'images mount @IMAGE @MOUNT', compare: 'status' },
  { args: 'images unmount @MOUNT', compare: 'status' },
  { args: 'images convert --oci @IMAGE docker.io/library/host:oci', compare: 'status' },
  { args: 'images convert --uncompress @IMAGE docker.io/library/host:plain', compare: 'status' },
  { args: 'images ls -q' },
  { args: 'images prune --all', since: 'ctr-2.1', compare: 'status' },
  { args: 'images import @ARCHIVE', compare: 'status' },
  { args: 'content fetch --plain-http @REGISTRY/host:1', compare: 'status' },
  { args: 'content fetch-object --plain-http @REGISTRY/host:1' },
  { args: 'content fetch-blob --plain-http @REGISTRY/host @LAYER', compare: 'status' },
  {
    args: 'content push-object --plain-http @REGISTRY/host:1 @LAYER application/octet-stream',
    compare: 'status',
  },
  { args: 'content get @MANIFEST' },
  { args: 'content label @MANIFEST x=y' },
  { args: 'content label sha256:00 x=y' },
  { args: 'content ls', isSettled: true },
  { args: 'content active' },
  { args: 'content edit --editor true @MANIFEST', compare: 'status' },
  { args: 'content prune references' },
  { args: 'content ingest --expected-size 3 --expected-digest @ABC ref1', input: 'abc' },
  { args: 'content ingest --expected-size 4 ref2', input: 'abc' },
  { args: 'content get @ABC' },
  { args: 'content rm @ABC' },
  { args: 'content rm @ABC' },
  { args: 'snapshots info @CHAIN' },
  { args: 'snapshots info missing' },
  { args: 'snapshots usage -b @CHAIN', compare: 'status' },
  { args: 'snapshots unpack @MANIFEST', compare: 'status' },
  { args: 'snapshots --snapshotter none ls', compare: 'status' },
  { args: 'containers create @IMAGE t1 /bin/echo started' },
  { args: 'tasks start t1' },
  { args: 'tasks start missing' },
  { args: 'tasks rm t1' },
  { args: 'containers create @IMAGE t2 /bin/sleep 1000' },
  { args: 'tasks start -d t2' },
  { args: 'tasks ps t2', compare: 'status' },
  { args: 'tasks metrics t2', compare: 'status' },
  { args: 'tasks attach missing' },
  { args: 'tasks exec --exec-id e missing /bin/true' },
  { args: 'tasks checkpoint missing', compare: 'status' },
  { args: 'tasks kill -s SIGKILL t2' },
  { args: 'tasks ls -q', compare: 'status' },
  { args: 'tasks rm -f t2', compare: 'status' },
  { args: 'containers rm t1 t2' },
  { args: 'containers checkpoint missing x', compare: 'status' },
  { args: 'containers restore x missing', compare: 'status' },
  { args: 'sandboxes ls', since: 'ctr-2.1' },
  { args: 'sandboxes rm missing', since: 'ctr-2.1', compare: 'status' },
  { args: 'leases ls -q' },
  { args: 'plugins ls type==io.containerd.content.v1' },
];

/** Subcommands that are not in the table, and where they are shown, or why not. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  events: 'test/integration/tasks-ctr.test.ts',
  'containers restore': 'needs a checkpoint: only its refusal is in the table',
  'pprof block': 'of Go’s runtime',
  'pprof threadcreate': 'of Go’s runtime',
  'pprof trace': 'of Go’s runtime',
  'pprof goroutines': 'test/integration/daemon-observability.test.ts',
  'pprof heap': 'test/integration/daemon-observability.test.ts',
  'pprof profile': 'test/integration/daemon-observability.test.ts',
  'tasks attach': 'waits for a terminal; its refusal is in the table',
  'sandboxes run': 'needs a pod configuration of CRI: test/integration/shim-sandbox.test.ts',
  shim: 'speaks to the shim’s socket, not to the daemon',
};

/** `GROUP COMMAND` of all that a ctr lists in its help, by first names. */
function subcommands(version: 'ctr-2.1' | 'ctr-1.6'): string[] {
  const help = (...args: string[]): string[] => {
    const { path, env } = peer(version);
    const { stdout } = spawnSync(path, [...args, '--help'], { env, encoding: 'utf8' });
    const [, list = ''] = /^COMMANDS:\n(.*?)\n\n/ms.exec(stdout) ?? [];
    return list
      .split('\n')
      .map((line) => /^ {3,}([a-z-]+)/.exec(line)?.[1] ?? '')
      .filter((name) => name !== '' && name !== 'help');
  };
  return help().flatMap((group) => {
    const commands = help(group);
    return commands.length === 0 ? [group] : commands.map((command) => `${group} ${command}`);
  });
}

for (const version of ['ctr-2.1', 'ctr-1.6'] as const) {
  test(`every subcommand of ${version} is in the table`, { skip: peer(version).skip }, () => {
    const other: Readonly<Record<string, string>> = { list: 'ls', delete: 'rm', remove: 'rm' };
    assert.ok(subcommands(version).length > 60, 'the help was read');
    const missing = subcommands(version).filter((name) => {
      const [group = '', command = ''] = name.split(' ');
      const names = [command, other[command] ?? command].map((each) => `${group} ${each}`.trim());
      const isElsewhere = names.some((each) => each in ELSEWHERE) || group in ELSEWHERE;
      return (
        !isElsewhere &&
        !COMMANDS.some(({ args }) => names.some((each) => `${args} `.startsWith(`${each} `)))
      );
    });
    assert.deepEqual(missing, []);
  });
}

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
    .replace(/^( {2}Version: ).*/gm, '$1VERSION')
    .replace(/^( {2}Revision: ).*/gm, '$1REVISION')
    .replace(/^WARNING: version mismatch\n/gm, '') // of ctr 2.1 and a daemon of another version
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
    .replace(/"(pid|pidns)": \d+/g, '"$1": PID')
    .replace(/\t(?:Less than a second|About a minute|\d+ (?:second|minute)s?)\t/g, '\tAGE\t')
    .replace(/\t+/g, '\t') // columns are as wide as the ages in them
    .replace(/\S+=\S+(,\S+=\S+)+/g, (labels) => labels.split(',').sort().join()) // in no order
    .replace(/^(r2\s+)\d+/gm, '$1PID');
}

for (const version of ['ctr-2.1', 'ctr-1.6'] as const) {
  const containerd = skipWithout('containerd-2.1');
  const skip = containerd || skipWithout('tscontainerd') || peer(version).skip;
  describe(`${version} on containerd and on tscontainerd`, { skip }, () => {
    const directory = mkdtempSync(join(tmpdir(), 'ctr-commands-'));
    const daemons: TestDaemon[] = [];
    let registry: DockerRegistry | undefined;
    const places = new Map([
      ['@IMAGE', IMAGE],
      ['@ARCHIVE', join(directory, 'image.tar')],
      ['@OUT', join(directory, 'out.tar')],
      ['@MOUNT', join(directory, 'mount')],
      ['@ABC', 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
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
      places.set('@MANIFEST', image.manifestDigest);
      places.set('@LAYER', image.layerDigests[0] ?? '');
      registry = await DockerRegistry.start(join(directory, 'registry'));
      places.set('@REGISTRY', registry.host);
      mkdirSync(join(directory, 'mount'));
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
        removeNamespaceTraces(namespaceOf(index));
      }
      await registry?.[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    });
    // Below one root of runc, which shims of both daemons use, the namespaces must differ.
    const namespaceOf = (index: number): string => `ctr${process.pid}n${index}`;
    const run = (index: number, args: readonly string[], input = ''): Result => {
      const daemon = daemons[index];
      assert.ok(daemon !== undefined);
      const namespace = namespaceOf(index);
      const { status, stdout, stderr } = daemon.ctr(version, ['-n', namespace, ...args], input);
      const clean = (text: string): string => normalize(text, daemon, namespace);
      return { status, stdout: clean(stdout), stderr: clean(stderr) };
    };

    for (const { args, compare, since, input, isSettled } of COMMANDS) {
      if (since !== undefined && since !== version) continue;
      test(`ctr ${args}`, async () => {
        const words = args
          .split(' ')
          .map(
            (word) => places.get(word) ?? word.replace('@REGISTRY', places.get('@REGISTRY') ?? ''),
          );
        const both = () => [run(0, words, input), run(1, words, input)] as const;
        let [theirs, ours] = both();
        for (let i = 0; isSettled && i < 100 && !isDeepStrictEqual(ours, theirs); i++) {
          await delay(100); // there is no event of a collection
          [theirs, ours] = both();
        }
        if (compare === 'status') assert.equal(ours.status, theirs.status, ours.stderr);
        else assert.deepEqual(ours, theirs);
      });
    }
  });
}
