/** Pushes an image (distribution-spec, "Push"): blobs before the manifests that refer to them. */
import {
  childrenOf,
  type Descriptor,
  isForeignLayer,
  isSamePlatform,
  mediaKind,
  type Platform,
  parseDocument,
} from '../oci/index.ts';
import { Limiter } from './limiter.ts';
import type { Progress } from './progress.ts';
import type { RegistryClient } from './registry-client.ts';
import { RegistryUpload } from './registry-upload.ts';
import type { TaskGroup } from './task-group.ts';

/** Where what is pushed comes from. */
export interface PushSource {
  /** All of a manifest or index. */
  readDocument(document: Descriptor): Promise<Buffer>;
  read(blob: Descriptor): AsyncIterable<Uint8Array>;
  /** Repositories of the registry that a blob came from. */
  repositoriesOf(blob: Descriptor): Promise<readonly string[]>;
}

export interface PushContext {
  readonly source: PushSource;
  readonly client: RegistryClient;
  readonly progress: Progress;
  readonly group: TaskGroup;
  /** Blobs that are sent at once. */
  readonly concurrency: number;
  /** Platforms to push of an index; none for all. */
  readonly platforms: readonly Platform[];
  /** Whether layers are pushed too that their licences forbid to pass on. */
  readonly pushesForeign: boolean;
}

export class ImagePush {
  readonly #context: PushContext;
  readonly #upload: RegistryUpload;
  readonly #uploads: Limiter;

  constructor(context: PushContext) {
    this.#context = context;
    this.#uploads = new Limiter(context.concurrency);
    this.#upload = new RegistryUpload(context.client, context.group.signal);
  }

  /** Pushes all that `root` refers to, and `root` last, under the reference's tag. */
  async run(root: Descriptor, name: string): Promise<void> {
    this.#context.progress.waiting(root, name);
    await this.#document(root, true);
  }

  /** Which name a document gets. A digest in the reference says to what its tag belongs, else that is the root. */
  #targetOf({ digest }: Descriptor, isRoot: boolean): string {
    const { tag, digest: tagged } = this.#context.client.reference;
    const isTagged = tagged === undefined ? isRoot : tagged === digest;
    return isTagged ? (tag ?? digest) : digest;
  }

  async #document(descriptor: Descriptor, isRoot: boolean): Promise<void> {
    const { source, progress, platforms, pushesForeign, client, group } = this.#context;
    const bytes = await source.readDocument(descriptor);
    const document = parseDocument(bytes, descriptor);
    const children = childrenOf(document).filter(({ mediaType, platform }) => {
      const isWanted =
        platform === undefined ||
        platforms.length === 0 ||
        platforms.some((wish) => isSamePlatform(wish, platform));
      return isWanted && (pushesForeign || !isForeignLayer(mediaType));
    });
    for (const child of children) progress.waiting(child, descriptor);
    await Promise.all(
      children.map((child) => {
        const kind = mediaKind(child.mediaType);
        const isDocument = kind === 'index' || kind === 'manifest';
        return group.start(() =>
          isDocument ? this.#document(child, false) : this.#uploads.run(() => this.#blob(child)),
        );
      }),
    );
    const target = this.#targetOf(descriptor, isRoot);
    const isNew = await client.retrying(group.signal, async () => {
      if (await this.#upload.hasDocument(descriptor, target)) return false;
      await this.#upload.putDocument(descriptor, target, bytes);
      return true;
    });
    progress.done(isNew ? 'complete' : 'already exists', descriptor);
  }

  async #blob(blob: Descriptor): Promise<void> {
    const { client, progress, group, source } = this.#context;
    const known = await source.repositoriesOf(blob);
    const from = known.find((repository) => repository !== client.reference.repository);
    // The whole is repeated: what was cut off may have arrived all the same.
    const isNew = await client.retrying(group.signal, async () => {
      if (await this.#upload.hasBlob(blob)) return false;
      await this.#upload.putBlob(blob, this.#read(blob), from);
      return true;
    });
    progress.done(isNew ? 'complete' : 'already exists', blob);
  }

  async *#read(blob: Descriptor): AsyncGenerator<Uint8Array> {
    const { source, progress } = this.#context;
    let sent = 0;
    for await (const chunk of source.read(blob)) {
      yield chunk;
      sent += chunk.length;
      progress.moved('uploading', blob, sent);
    }
  }
}
