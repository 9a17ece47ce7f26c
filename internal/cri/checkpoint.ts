/**
 * CheckpointContainer: what CRIU writes of a running container, and what is needed to understand it, as one tar archive with
 * the names that checkpointctl and other engines know. The container runs on. What is read of an archive is in
 * checkpoint-archive.ts.
 */
import { constants, createReadStream, createWriteStream } from 'node:fs';
import {
  type FileHandle,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  rename,
  rm,
  writeFile,
} from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Pack, pack } from 'tar-stream';
import { packAny } from '../api/any.ts';
import { CheckpointOptions } from '../api/generated/containerd.runc.v1.ts';
import { Status } from '../api/generated/containerd.v1.types.ts';
import { errnoNameOf, TsError } from '../errors/index.ts';
import { formatJson } from '../oci/index.ts';
import type { Container } from './container.ts';
import type { Cri } from './cri.ts';
import { containerStatus } from './status-messages.ts';
import { ignoreEnded, unlessGone } from './undo.ts';

const LAYER = 'application/vnd.oci.image.layer.v1.tar';
/** How long a daemon that starts waits for a shim. */
const RESUME_MS = 10_000;

/** Writes a checkpoint of a container to the file `location`, which only root can read: it holds the container's memory. */
export async function checkpointContainer(
  cri: Cri,
  container: Container,
  location: string,
): Promise<void> {
  const place = `checkpoint container ${container.id}`;
  if (!container.isRunning) {
    throw new TsError('FailedPrecondition', `${place}: not running`);
  }
  if (!isAbsolute(location) || location.includes('\0')) {
    throw new TsError('InvalidArgument', `${place}: location ${JSON.stringify(location)}`, {
      advice: 'give the absolute path of a file to write',
    });
  }
  const parent = workDirectories(cri);
  await mkdir(parent, { recursive: true, mode: 0o700 });
  const work = await mkdtemp(join(parent, `${container.id}-`));
  try {
    const imagePath = join(work, 'checkpoint');
    await mkdir(imagePath, { mode: 0o700 });
    await cri.criuLogs.during(container.id, async (workPath) => {
      await whilePaused(cri, container, async () => {
        await cri.services.tasks.checkpoint({
          containerId: container.id,
          options: packAny(CheckpointOptions, { imagePath, workPath }),
        });
        await writeRootfsDiff(cri, container, join(work, 'rootfs-diff.tar'));
        await copyLog(container.state.logPath, join(work, 'container.log'));
      });
      await writeArchive(cri, container, [work, workPath], location);
    });
  } catch (thrown) {
    throw TsError.from(thrown, place).within(place);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Each checkpoint has a directory in it, called by its container and six characters, for as long as it is being made. */
const workDirectories = ({ settings }: Cri): string => join(settings.rootDir, 'checkpoints');

const viewKey = (id: string): string => `${id}-checkpoint`;

/**
 * Ends the checkpoints in which an earlier daemon was killed: their containers go on, and what was written of them is
 * removed. To be called before the first is made.
 */
export async function endAbandonedCheckpoints(cri: Cri): Promise<void> {
  const parent = workDirectories(cri);
  const names = await readdir(parent).catch((thrown: unknown) => {
    if (errnoNameOf(thrown) === 'ENOENT') return [];
    throw thrown;
  });
  for (const name of names) {
    const container = cri.containers.find(name.slice(0, name.lastIndexOf('-')));
    if (container !== undefined) await goOn(cri, container);
    await rm(join(parent, name), { recursive: true, force: true });
  }
}

async function goOn({ services }: Cri, { id, state }: Container): Promise<void> {
  const request = { containerId: id };
  const task = services.tasks.get(request).catch(() => undefined); // it has none: it was stopped meanwhile
  if ((await task)?.process?.status === Status.PAUSED) {
    await services.tasks
      .resume(request, { timeoutMs: RESUME_MS })
      .then(() => undefined, ignoreEnded);
  }
  await unlessGone(services.snapshots.remove({ snapshotter: state.snapshotter, key: viewKey(id) }));
}

/** Memory, files and log of one moment: CRIU restores no process whose open files have other sizes than it remembers. */
async function whilePaused(
  { services }: Cri,
  { id: containerId }: Container,
  work: () => Promise<void>,
): Promise<void> {
  await services.tasks.pause({ containerId });
  try {
    await work();
  } finally {
    await services.tasks.resume({ containerId }).then(() => undefined, ignoreEnded);
  }
}

/** What the container has changed in its root, as a layer. The lease keeps all of it from the collector until it is read. */
async function writeRootfsDiff(
  { services }: Cri,
  { id, state: { snapshotter } }: Container,
  file: string,
): Promise<void> {
  const { snapshots, content } = services;
  const key = viewKey(id);
  await services.withLease(async (options) => {
    const { info } = await snapshots.stat({ snapshotter, key: id });
    const view = { snapshotter, key, parent: info?.parent ?? '' };
    const { mounts: left } = await snapshots.view(view, options);
    try {
      const { mounts: right } = await snapshots.mounts({ snapshotter, key: id });
      const request = { left, right, mediaType: LAYER, ref: `checkpoint-${id}` };
      const { diff } = await services.diff.diff(request, options);
      await pipeline(
        async function* () {
          const blob = { digest: diff?.digest ?? '' };
          for await (const { data } of content.read(blob, options)) yield data;
        },
        createWriteStream(file, { mode: 0o600 }),
      );
    } finally {
      await unlessGone(snapshots.remove({ snapshotter, key }));
    }
  });
}

/** The log so far. A link in its place would have the archive hold another file (CVE-2026-53489): it is not followed. */
async function copyLog(path: string, file: string): Promise<void> {
  if (path === '') return;
  let log: FileHandle;
  try {
    log = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (thrown) {
    if (errnoNameOf(thrown) === 'ENOENT') return; // its pod's logs were taken away
    throw TsError.from(thrown, `read ${path}`);
  }
  await using owned = log;
  const stat = await owned.stat();
  if (!stat.isFile()) throw new TsError('FailedPrecondition', `read ${path}: not a regular file`);
  if (stat.size === 0) return await writeFile(file, '', { mode: 0o600 });
  // It may grow meanwhile.
  const source = createReadStream('', {
    fd: owned,
    start: 0,
    end: stat.size - 1,
    autoClose: false,
  });
  await pipeline(source, createWriteStream(file, { mode: 0o600 }));
}

async function writeArchive(
  { services }: Cri,
  container: Container,
  trees: readonly string[],
  location: string,
): Promise<void> {
  const { container: record } = await services.containers.get({ id: container.id });
  const { config, state, id } = container;
  const documents = {
    'config.dump': formatJson({
      id,
      name: config.metadata?.name ?? '',
      rootfsImage: state.image,
      rootfsImageRef: state.imageRef,
      rootfsImageName: state.image,
      runtime: state.runtime,
      createdTime: new Date(Number(state.createdAt / 1_000_000n)).toISOString(),
      checkpointedTime: new Date().toISOString(),
    }),
    'spec.dump': Buffer.from(record?.spec?.value ?? '').toString('utf8'),
    'status.dump': formatJson(containerStatus(container)),
  };
  const temporary = `${location}.${process.pid}`;
  await mkdir(dirname(location), { recursive: true, mode: 0o700 });
  const archive = pack();
  try {
    const written = pipeline(archive, createWriteStream(temporary, { mode: 0o600 }));
    written.catch(() => undefined); // awaited below, after what may fail before it
    for (const [name, text] of Object.entries(documents))
      archive.entry({ name, mode: 0o600 }, text);
    for (const tree of trees) await addTree(archive, tree, '');
    archive.finalize();
    await written;
    const handle = await open(temporary, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, location);
  } catch (thrown) {
    archive.destroy();
    await rm(temporary, { force: true });
    throw TsError.from(thrown, `write ${location}`);
  }
}

/** What CRIU has written is regular files and directories; anything else is not followed, and left out. */
async function addTree(archive: Pack, root: string, path: string): Promise<void> {
  for (const name of (await readdir(join(root, path))).sort()) {
    const inner = path === '' ? name : `${path}/${name}`;
    const stat = await lstat(join(root, inner));
    if (stat.isDirectory()) {
      archive.entry({ name: `${inner}/`, type: 'directory', mode: 0o700 });
      await addTree(archive, root, inner);
    } else if (stat.isFile()) {
      const entry = archive.entry({ name: inner, size: stat.size, mode: 0o600 });
      await pipeline(createReadStream(join(root, inner)), entry);
    }
  }
}
