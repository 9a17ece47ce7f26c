import { createHash, randomBytes } from 'node:crypto';
import { constants, createReadStream, existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { AnyMessage } from '../api/any.ts';
import { WriteAction } from '../api/generated/containerd.services.content.v1.ts';
import type { Mount } from '../api/generated/containerd.types.ts';
import type { CallOptions } from '../api/service.ts';
import { errnoNameOf, TsError } from '../errors/index.ts';
import type { Spec } from '../oci/index.ts';
import { type Checkpoint, unpackCheckpoint } from './checkpoint-archive.ts';
import { checkCredentials } from './checkpoint-credentials.ts';
import { copyCheckpoint } from './checkpoint-image.ts';
import type { CriConfig, RuntimeHandlerConfig } from './cri-config.ts';
import type { CriImage } from './cri-images.ts';
import type { CriuLogs } from './criu-logs.ts';
import type { DaemonServices } from './daemon-services.ts';
import { packRestoreOptions } from './runtime-options.ts';
import { type Undo, unlessGone } from './undo.ts';

const LAYER = 'application/vnd.oci.image.layer.v1.tar';

/** Whether the image of a request is the path of a checkpoint's archive, as containerd takes it: no image is called so. */
export function isArchive(image: string): boolean {
  return image.startsWith('/');
}

/**
 * Containers that go on from a checkpoint: what its archive gives them when they are made, and what is kept of it until they
 * are started. Their spec is the request's, as that of any other.
 */
export class ContainerRestore {
  readonly #services: Pick<DaemonServices, 'content' | 'diff' | 'snapshots' | 'withLease'>;
  readonly #settings: Pick<CriConfig, 'rootDir' | 'enablesCheckpointImages'>;
  readonly #logs: CriuLogs;

  constructor(
    services: Pick<DaemonServices, 'content' | 'diff' | 'snapshots' | 'withLease'>,
    settings: Pick<CriConfig, 'rootDir' | 'enablesCheckpointImages'>,
    logs: CriuLogs,
  ) {
    this.#services = services;
    this.#settings = settings;
    this.#logs = logs;
  }

  #directory(id: string): string {
    return join(this.#settings.rootDir, 'restores', id);
  }

  /** Unpacks an archive for a container; `undo` takes it back. */
  async unpack(id: string, archive: string, undo: Undo): Promise<Checkpoint> {
    undo.add(() => this.remove(id));
    return await unpackCheckpoint(archive, this.#directory(id));
  }

  /** As {@link unpack}, for an image that is a checkpoint. Throws PermissionDenied where none is taken. */
  async unpackImage(
    id: string,
    { chainId, repoTags: [name = ''] }: CriImage,
    snapshotter: string,
    undo: Undo,
  ): Promise<Checkpoint> {
    if (!this.#settings.enablesCheckpointImages) {
      throw new TsError('PermissionDenied', `image ${name}: a checkpoint`, {
        advice:
          'give the archive itself, or set enable_checkpoint_images if all who may name images are trusted as root',
      });
    }
    undo.add(() => this.remove(id));
    const { snapshots, withLease } = this.#services;
    return await withLease(async (options) => {
      const key = `${id}-checkpoint-image`;
      const view = { snapshotter, key, parent: chainId };
      const { mounts } = await snapshots.view(view, options);
      try {
        return await copyCheckpoint(name, mounts, this.#directory(id));
      } finally {
        await unlessGone(snapshots.remove({ snapshotter, key }));
      }
    });
  }

  /** Puts the files that the container had changed over those of its image. */
  async applyFiles(id: string, { rootfsDiffPath }: Checkpoint, mounts: readonly Mount[]) {
    if (!existsSync(rootfsDiffPath)) return;
    const { size } = await stat(rootfsDiffPath);
    if (size === 0) return;
    await this.#services.withLease((options) =>
      this.#applyLayer(id, rootfsDiffPath, mounts, options),
    );
  }

  async #applyLayer(id: string, path: string, mounts: readonly Mount[], options: CallOptions) {
    const { content, diff } = this.#services;
    const ref = `restore-${id}-${randomBytes(4).toString('hex')}`;
    const hash = createHash('sha256');
    let size = 0n;
    async function* requests() {
      for await (const data of createReadStream(path) as AsyncIterable<Buffer>) {
        hash.update(data);
        yield { action: WriteAction.WRITE, ref, offset: size, data };
        size += BigInt(data.length);
      }
      yield { action: WriteAction.COMMIT, ref, offset: size, total: size };
    }
    try {
      for await (const _ of content.write(requests(), options));
    } catch (thrown) {
      // Another container is made of the same archive.
      if (TsError.from(thrown).kind !== 'AlreadyExists') throw thrown;
    }
    const digest = `sha256:${hash.digest('hex')}`;
    try {
      await diff.apply({ diff: { mediaType: LAYER, digest, size }, mounts: [...mounts] }, options);
    } catch (thrown) {
      throw TsError.from(thrown).within('rootfs-diff.tar of the checkpoint');
    }
  }

  /** Throws unless `spec` allows what the processes of the checkpoint may do. */
  async check({ imagesPath }: Checkpoint, spec: Spec): Promise<void> {
    await checkCredentials(imagesPath, spec);
  }

  /** Begins the log with that of the checkpoint. One that is there already is the pod's own: it stays as it is. */
  async continueLog({ logPath }: Checkpoint, path: string): Promise<void> {
    if (path === '' || !existsSync(logPath)) return;
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    try {
      await copyFile(logPath, path, constants.COPYFILE_EXCL);
    } catch (thrown) {
      if (errnoNameOf(thrown) !== 'EEXIST') throw TsError.from(thrown, `write ${path}`);
    }
  }

  /** Starts a container by `start`, which gets options for the shim if the container is to be restored. */
  async start(
    id: string,
    runtime: () => RuntimeHandlerConfig,
    start: (options: AnyMessage | undefined) => Promise<void>,
  ): Promise<void> {
    const imagesPath = join(this.#directory(id), 'checkpoint');
    if (!existsSync(imagesPath)) return await start(undefined);
    await this.#logs.during(id, (workPath) =>
      start(packRestoreOptions(runtime(), { imagesPath, workPath })),
    );
  }

  /** Removes what a daemon left that was killed before its container was noted down. */
  async removeOrphans(ids: ReadonlySet<string>): Promise<void> {
    const names = await readdir(this.#directory('')).catch((thrown: unknown) => {
      if (errnoNameOf(thrown) === 'ENOENT') return [];
      throw thrown;
    });
    await Promise.all(names.filter((name) => !ids.has(name)).map((name) => this.remove(name)));
  }

  /** Removes what is left of an archive. */
  async remove(id: string): Promise<void> {
    await rm(this.#directory(id), { recursive: true, force: true });
  }
}
