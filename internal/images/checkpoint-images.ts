/**
 * Checkpoints of tasks in the content store, as containerd keeps them: the files of CRIU as a tar, and the
 * container's specification (containerd core/images/mediatypes.go).
 *
 * What is in such a tar comes from whoever made the image: it is unpacked like any layer, into a directory
 * of its own, and gives memory and files to the restored process and nothing to its specification.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { AnyMessage } from '../api/any.ts';
import { Any } from '../api/generated/google.protobuf.ts';
import type { ContentStore } from '../content/content-store.ts';
import { TsError } from '../errors/index.ts';
import type { Scope } from '../metadata/scope.ts';
import type { Differ } from '../snapshots/differ.ts';
import type { Mount } from '../snapshots/snapshotter.ts';
import { writeBlob } from './image-content.ts';
import type { Descriptor } from './image-store.ts';

const LAYER = 'application/vnd.oci.image.layer.v1.tar';
/** Media types of the two parts of a checkpoint. */
export const CHECKPOINT = {
  criu: 'application/vnd.containerd.container.criu.checkpoint.criu.tar',
  config: 'application/vnd.containerd.container.checkpoint.config.v1+proto',
} as const;

const NO_LABELS = new Map<string, string>();

/** A directory that goes with its owner. */
export interface CheckpointDirectory extends AsyncDisposable {
  readonly path: string;
}

/** Keeps checkpoints as content. */
export interface CheckpointStore {
  /** An empty directory for the files of a checkpoint. */
  directory(): Promise<CheckpointDirectory>;
  /** Stores the files in `path`, and the specification beside them. */
  save(scope: Scope, path: string, spec: AnyMessage): Promise<Descriptor[]>;
  /** Unpacks the files of a checkpoint into `path`. Throws InvalidArgument for what is none. */
  unpack(scope: Scope, checkpoint: Descriptor, path: string): Promise<void>;
}

/** Checkpoints through a differ, which makes tars and unpacks them with its limits. */
export class CheckpointImages implements CheckpointStore {
  readonly #differ: Differ;
  readonly #content: ContentStore;
  readonly #directory: string;

  /** `directory` holds the files of checkpoints that are on their way; only root may look into it. */
  constructor(differ: Differ, content: ContentStore, directory: string) {
    this.#differ = differ;
    this.#content = content;
    this.#directory = directory;
  }

  async directory(): Promise<CheckpointDirectory> {
    const path = join(this.#directory, randomUUID());
    try {
      await mkdir(path, { recursive: true, mode: 0o700 });
    } catch (thrown) {
      throw TsError.from(thrown, `make directory ${path}`);
    }
    return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
  }

  async save(scope: Scope, path: string, spec: AnyMessage): Promise<Descriptor[]> {
    const options = { mediaType: LAYER, ref: '', labels: NO_LABELS, sourceDateEpoch: undefined };
    const files = await this.#differ.diff(scope, [], [bindMount(path)], options);
    const config = await writeBlob(this.#content, scope, CHECKPOINT.config, Any.encode(spec));
    return [{ ...files, mediaType: CHECKPOINT.criu }, config];
  }

  async unpack(scope: Scope, checkpoint: Descriptor, path: string): Promise<void> {
    const { mediaType, digest } = checkpoint;
    if (mediaType !== CHECKPOINT.criu) {
      throw new TsError(
        'InvalidArgument',
        `unsupported checkpoint type ${JSON.stringify(mediaType)} of ${digest}: invalid argument`,
      );
    }
    try {
      await this.#differ.apply(scope, { ...checkpoint, mediaType: LAYER }, [bindMount(path)]);
    } catch (thrown) {
      throw TsError.from(thrown).within(`unpack checkpoint ${digest}`);
    }
  }
}

function bindMount(source: string): Mount {
  return { type: 'bind', source, target: '', options: ['rbind', 'rw'] };
}
