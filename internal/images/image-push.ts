/** Pushes an image (distribution-spec, "Push"): blobs before the manifests that refer to them. */
import type { ContentStore } from '../content/content-store.ts';
import { TsError } from '../errors/index.ts';
import type { Scope } from '../metadata/scope.ts';
import {
  childrenOf,
  isForeignLayer,
  isSamePlatform,
  MAX_DOCUMENT_BYTES,
  mediaKind,
  type Platform,
} from '../oci/index.ts';
import type { RegistryClient } from '../registry/registry-client.ts';
import { readText, statusError } from '../registry/registry-http.ts';
import type { RegistrySession } from '../registry/registry-session.ts';
import { readDocument, sourceLabel } from './image-content.ts';
import type { Descriptor } from './image-store.ts';
import { Limiter } from './limiter.ts';
import type { Progress } from './progress.ts';
import type { TaskGroup } from './task-group.ts';

export interface PushContext {
  readonly content: ContentStore;
  readonly client: RegistryClient;
  readonly progress: Progress;
  readonly scope: Scope;
  readonly group: TaskGroup;
  /** Blobs that are sent at once. */
  readonly concurrency: number;
  /** Platforms to push of an index; none for all. */
  readonly platforms: readonly Platform[];
}

export class ImagePush {
  readonly #context: PushContext;
  readonly #session: RegistrySession;
  readonly #repository: string;
  readonly #uploads: Limiter;

  constructor(context: PushContext) {
    this.#context = context;
    this.#uploads = new Limiter(context.concurrency);
    this.#session = context.client.pushSession();
    this.#repository = context.client.reference.repository;
  }

  /** Pushes all that `root` refers to, and `root` last, under the reference's tag. */
  async run(root: Descriptor, name: string): Promise<void> {
    this.#context.progress.waiting(root, name);
    const { tag } = this.#context.client.reference;
    await this.#document(root, tag ?? root.digest);
  }

  async #document(descriptor: Descriptor, target: string): Promise<void> {
    const { content, scope, progress, platforms } = this.#context;
    const document = await readDocument(content, scope, descriptor);
    const children = childrenOf(document).filter(({ mediaType, platform }) => {
      const isWanted =
        platform === undefined ||
        platforms.length === 0 ||
        platforms.some((wish) => isSamePlatform(wish, platform));
      return isWanted && !isForeignLayer(mediaType);
    });
    for (const child of children) progress.waiting(child, descriptor);
    await Promise.all(
      children.map((child) => {
        const kind = mediaKind(child.mediaType);
        const isDocument = kind === 'index' || kind === 'manifest';
        return this.#context.group.start(() =>
          isDocument
            ? this.#document(child, child.digest)
            : this.#uploads.run(() => this.#blob(child)),
        );
      }),
    );
    const { client } = this.#context;
    const isNew = await client.retrying(scope.signal, async () => {
      const isTagged = target !== descriptor.digest;
      if (!isTagged && (await this.#exists('manifests', descriptor))) return false;
      await this.#putDocument(descriptor, target);
      return true;
    });
    progress.done(isNew ? 'complete' : 'already exists', descriptor);
  }

  async #putDocument(descriptor: Descriptor, target: string): Promise<void> {
    const { content, scope } = this.#context;
    const bytes = await content.readAll(scope, descriptor.digest, MAX_DOCUMENT_BYTES);
    const response = await this.#send({
      method: 'PUT',
      path: `/${this.#repository}/manifests/${target}`,
      headers: new Map([
        ['content-type', descriptor.mediaType],
        ['content-length', String(bytes.length)],
      ]),
      body: bytes.toString('utf8'),
    });
    if (response.status !== 201 && response.status !== 200) throw await statusError(response);
    response.discard();
  }

  async #blob(blob: Descriptor): Promise<void> {
    const { client, progress, scope } = this.#context;
    // The whole is repeated: what was cut off may have arrived all the same.
    const isNew = await client.retrying(scope.signal, async () => {
      if (await this.#exists('blobs', blob)) return false;
      await this.#upload(blob);
      return true;
    });
    progress.done(isNew ? 'complete' : 'already exists', blob);
  }

  async #exists(
    folder: 'blobs' | 'manifests',
    { digest, mediaType }: Descriptor,
  ): Promise<boolean> {
    const response = await this.#send({
      method: 'HEAD',
      path: `/${this.#repository}/${folder}/${digest}`,
      headers: new Map([['accept', `${mediaType}, */*`]]),
    });
    await readText(response, 0);
    if (response.status === 200) return true;
    if (response.status === 404) return false;
    throw await statusError(response);
  }

  /** One upload: POST asks for a place, PUT fills it. A blob that the host has elsewhere is mounted. */
  async #upload(blob: Descriptor): Promise<void> {
    const source = this.#knownSource(blob);
    const query = source === undefined ? '' : `?mount=${blob.digest}&from=${source}`;
    const start = await this.#send({
      method: 'POST',
      path: `/${this.#repository}/blobs/uploads/${query}`,
      headers: new Map([['content-length', '0']]),
      body: '',
    });
    if (start.status === 201) {
      start.discard();
      return; // mounted
    }
    if (start.status !== 202) throw await statusError(start);
    const location = start.headers.get('location')?.[0];
    await readText(start, MAX_DOCUMENT_BYTES);
    if (location === undefined || !URL.canParse(location, start.url)) {
      throw new TsError('Unavailable', `${start.what}: the answer says no place to upload to`);
    }
    const url = new URL(location, start.url);
    url.searchParams.set('digest', blob.digest);
    const response = await this.#send({
      method: 'PUT',
      path: url.href,
      headers: new Map([
        ['content-type', 'application/octet-stream'],
        ['content-length', String(blob.sizeBytes)],
      ]),
      body: this.#read(blob),
    });
    if (response.status !== 201) throw await statusError(response);
    response.discard();
  }

  async *#read(blob: Descriptor): AsyncGenerator<Buffer> {
    const { content, scope, progress } = this.#context;
    let sent = 0;
    for await (const chunk of content.read(scope, blob.digest)) {
      yield chunk;
      sent += chunk.length;
      progress.moved('uploading', blob, sent);
    }
  }

  /** Another repository of the same registry that the blob came from. */
  #knownSource({ digest }: Descriptor): string | undefined {
    const { content, scope, client } = this.#context;
    const key = sourceLabel(client.reference.host);
    const sources = content.info(scope, digest).labels.get(key)?.split(',') ?? [];
    return sources.find((repository) => repository !== this.#repository);
  }

  async #send(
    request: Parameters<RegistrySession['send']>[0],
  ): ReturnType<RegistrySession['send']> {
    return await this.#session.send({ ...request, signal: this.#context.scope.signal });
  }
}
