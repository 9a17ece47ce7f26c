// A file system that does not answer (a dead NFS server, a hanging FUSE program) under a root file system, a layer, a volume:
// the create that needs it waits, ends at its deadline and leaves nothing; all others are served meanwhile.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { Mount } from '../../internal/api/generated/containerd.types.ts';
import { mount, unmountAll } from '../../internal/linux/index.ts';
import { Code, type TtrpcError } from '../../ttrpc/index.ts';
import { makeFifo } from '../fixtures/fifo.ts';
import { HangingFileSystem, skipWithoutFuse } from '../fixtures/hanging-file-system.ts';
import {
  bundleSpec,
  PlayedDaemon,
  type Shim,
  sharedRootfs,
  skipWithout,
  until,
} from '../fixtures/shim.ts';

const SIGKILL = 9;
/** The least time that a request which hangs is given, and in how many times that of the others it ends. */
const DEADLINE_MS = 1_500;
const ROUNDS = 5;
const annotations = { 'io.kubernetes.cri.sandbox-id': 'pod' };

interface Hanging {
  readonly rootfs?: readonly Mount[];
  readonly spec?: object;
}

const bound = (source: string): Mount[] => [
  { type: 'bind', source, target: '', options: ['rbind', 'ro'] },
];

/** Where it hangs: what the create is given, for a file system that hangs at `far`. */
const PLACES: readonly [string, (far: string, directory: string) => Hanging][] = [
  ['the root file system', (far) => ({ rootfs: bound(far) })],
  [
    'the lowest layer of an overlay',
    (far) => ({
      rootfs: [
        {
          type: 'overlay',
          source: 'overlay',
          target: '',
          options: [`lowerdir=${sharedRootfs()}:${join(far, 'layer')}`],
        },
      ],
    }),
  ],
  ['a volume', (far) => ({ rootfs: bound(sharedRootfs()), spec: withVolume(join(far, 'volume')) })],
  [
    'a volume behind a symlink',
    (far, directory) => {
      const link = join(directory, 'link');
      spawnSync('ln', ['-sfn', far, link]);
      return { rootfs: bound(sharedRootfs()), spec: withVolume(link) };
    },
  ],
  ['root.path', (far) => ({ rootfs: [], spec: { root: { path: far } } })],
];

function withVolume(source: string): object {
  const { mounts } = bundleSpec('c2', []) as { mounts: object[] };
  const volume = { destination: '/mnt', type: 'bind', source, options: ['rbind'] };
  return { mounts: [...mounts, volume] };
}

/** A container that runs, and beside it in the same shim one that is not created yet. */
async function pod(
  daemon: PlayedDaemon,
  runtime: 'tsrunc' | 'in-process',
  spec: object,
): Promise<[Shim, Shim]> {
  const first = await daemon.shim(['/bin/sleep', '1000'], { runtime, annotations });
  await first.create();
  await first.start();
  const options = { id: 'c2', runtime, annotations } as const;
  return [first, await daemon.shim(['/bin/true'], options, spec)];
}

/** What the shim does for others while one of its requests hangs. */
async function servesOthers(shim: Shim, round: string): Promise<void> {
  assert.equal((await shim.task.state({ id: 'c1' })).pid > 0, true);
  await shim.task.stats({ id: 'c1' });
  await shim.exec(`e-${round}`, ['/bin/sh', '-c', 'exit 4']);
  assert.equal(await shim.wait(`e-${round}`), 4);
  await shim.task.delete({ id: 'c1', execId: `e-${round}` });
}

/** A deadline until which others are served several times over, as slow as this machine is now. */
async function deadlineMs(shim: Shim): Promise<number> {
  const startMs = performance.now();
  await servesOthers(shim, 'before');
  return Math.max(DEADLINE_MS, ROUNDS * (performance.now() - startMs));
}

/** Others do not have to wait for the end of what hangs. */
async function servesOthersDuring(late: Promise<void>, shim: Shim): Promise<void> {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  late.then(over, over);
  await servesOthers(shim, 'during');
  assert.equal(isOver, false, 'others waited for the one that hangs');
}

/** What a container of the shim's may leave: processes, descriptors, mounts, the state of the runtime. */
function traces(daemon: PlayedDaemon, first: Shim, second: Shim): object {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return {
    children: childrenOf(first.pid),
    fds: first.fds.length,
    mounts: mounts.filter((line) => line.includes(`${second.bundle}/`)),
    states: readdirSync(join(daemon.directory, 'runtime/default')),
  };
}

function sameTraces(daemon: PlayedDaemon, first: Shim, second: Shim, before: object): boolean {
  return isDeepStrictEqual(traces(daemon, first, second), before);
}

function childrenOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
}

/** Begins a create that does not come to an end; resolves when it was given up. */
function createInVain(shim: Shim, rootfs: readonly Mount[], timeoutMs?: number): Promise<void> {
  const { id, bundle, options } = shim;
  const call = timeoutMs === undefined ? {} : { timeoutMs };
  const creating = shim.task.create({ id, bundle, rootfs: [...rootfs], options }, call);
  return creating.then(
    () => assert.fail('it was created'),
    (error: Error) => {
      if (timeoutMs !== undefined) assert.equal((error as TtrpcError).code, Code.DEADLINE_EXCEEDED);
    },
  );
}

/** Nothing of a create that was given up is there, and its id can be used again. */
async function isGone(daemon: PlayedDaemon, first: Shim, second: Shim, before: object) {
  await assert.rejects(second.task.delete({ id: 'c2' }), {
    code: Code.NOT_FOUND,
    message: 'container not created: not found',
  });
  await servesOthers(first, 'after');
  await until(() => sameTraces(daemon, first, second, before), 'the clean-up');
  rmSync(join(second.bundle, 'config.json'));
  writeFileSync(
    join(second.bundle, 'config.json'),
    JSON.stringify(bundleSpec('c2', ['/bin/sh', '-c', 'exit 5'])),
  );
  await second.create();
  await second.start();
  assert.equal(await second.wait(), 5);
  await second.task.delete({ id: 'c2' });
  await end(first);
}

async function end(shim: Shim): Promise<void> {
  await shim.task.kill({ id: shim.id, signal: SIGKILL });
  assert.equal(await shim.wait(), 137);
  await shim.finish();
}

for (const runtime of ['tsrunc', 'in-process'] as const) {
  const skip = skipWithout(runtime) || skipWithoutFuse();

  for (const [place, hang] of PLACES) {
    test(`${runtime}: ${place} hangs: others are served, and at the deadline nothing is left`, {
      skip,
    }, async () => {
      await using daemon = await PlayedDaemon.start();
      using far = new HangingFileSystem(join(daemon.directory, 'far'));
      const { rootfs = [], spec = {} } = hang(far.path, daemon.directory);
      const [first, second] = await pod(daemon, runtime, spec);
      const before = traces(daemon, first, second);
      const late = createInVain(second, rootfs, await deadlineMs(first));
      await servesOthersDuring(late, first);
      await late;
      await isGone(daemon, first, second, before);
    });
  }

  test(`${runtime}: a config.json that is a fifo holds up nobody else`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start();
    const [first, second] = await pod(daemon, runtime, {});
    const before = traces(daemon, first, second);
    const config = join(second.bundle, 'config.json');
    rmSync(config);
    makeFifo(second.bundle, 'config.json');
    const late = createInVain(second, bound(sharedRootfs()), await deadlineMs(first));
    await servesOthersDuring(late, first);
    await late;
    await isGone(daemon, first, second, before);
  });

  test(`${runtime}: a create that hangs ends when its task is deleted`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start();
    using far = new HangingFileSystem(join(daemon.directory, 'far'));
    const [first, second] = await pod(daemon, runtime, withVolume(far.path));
    const before = traces(daemon, first, second);
    const given = createInVain(second, bound(sharedRootfs()));
    await servesOthersDuring(given, first);
    const gone = isGone(daemon, first, second, before);
    await given;
    await gone;
  });

  test(`${runtime}: an exec that hangs ends at its deadline`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shared = join(daemon.directory, 'shared');
    mkdirSync(shared);
    mount({ source: 'tmpfs', target: shared, type: 'tmpfs' });
    mount({ target: shared, flags: ['MS_SHARED'] });
    try {
      const { mounts } = bundleSpec('c1', []) as { mounts: object[] };
      const options = ['rbind', 'rslave'];
      const volume = { destination: '/tmp/mnt', type: 'bind', source: shared, options };
      const spec = { mounts: [...mounts, volume] };
      const shim = await daemon.shim(['/bin/sleep', '1000'], { runtime }, spec);
      await shim.create();
      await shim.start();
      // It comes from the host when the container runs already.
      using _far = new HangingFileSystem(join(shared, 'far'));
      const before = [childrenOf(shim.pid), shim.fds.length];
      await shim.addExec('e1', ['/bin/true'], {}, { cwd: '/tmp/mnt/far/x' });
      const timeoutMs = await deadlineMs(shim);
      const starting = shim.task.start({ id: 'c1', execId: 'e1' }, { timeoutMs });
      const late = assert.rejects(starting, { code: Code.DEADLINE_EXCEEDED });
      await servesOthersDuring(late, shim);
      await late;
      await until(() => {
        return String([childrenOf(shim.pid), shim.fds.length]) === String(before);
      }, 'the clean-up');
      assert.equal((await shim.task.state({ id: 'c1', execId: 'e1' })).pid, 0);
      await servesOthers(shim, 'after');
      await end(shim);
    } finally {
      unmountAll(shared);
    }
  });
}

test('a create that hangs ends some time after its client has gone away', {
  skip: skipWithout('in-process') || skipWithoutFuse(),
}, async () => {
  await using daemon = await PlayedDaemon.start();
  using far = new HangingFileSystem(join(daemon.directory, 'far'));
  const [first, second] = await pod(daemon, 'in-process', withVolume(far.path));
  const before = traces(daemon, first, second);
  const lost = createInVain(second, bound(sharedRootfs()));
  await second.task.connect({ id: 'c2' }); // the answer to a second call: the first has begun
  second.disconnect();
  await lost;
  await second.connect();
  await assert.rejects(second.create(), {
    code: Code.ALREADY_EXISTS,
    message: 'task c2: already exists',
  });
  await servesOthers(first, 'during');
  await until(() => sameTraces(daemon, first, second, before), 'the clean-up');
  await isGone(daemon, first, second, before);
});
