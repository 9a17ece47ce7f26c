import { Content } from '../api/generated/containerd.services.content.v1.ts';
import type { CallOptions } from '../api/service.ts';
import { TsError } from '../errors/index.ts';
import {
  bestPlatform,
  childLabels,
  childrenOf,
  type Descriptor,
  type ImageReference,
  mediaKind,
  type Platform,
  parseDocument,
  refKey,
} from '../oci/index.ts';
import { Limiter } from '../registry/limiter.ts';
import { Progress } from '../registry/progress.ts';
import { newSourceLabel } from '../registry/reference.ts';
import type { RegistryClient } from '../registry/registry-client.ts';
import { type TaskGroup, together } from '../registry/task-group.ts';
import { resumeBlob } from './blob-write.ts';
import type { Client } from './client.ts';
import { readAll } from './image-content.ts';
import { labelPaths } from './labels.ts';
import type { Output } from './output.ts';
import { TransferProgress } from './progress.ts';
import { ProgressDisplay } from './progress-display.ts';

/** Indexes may list indexes, each a small document and all together without end. */
const MAX_DOCUMENTS = 1000;

/** What of an image is fetched. */
export interface LocalFetchOptions {
  /** Whose layers are wanted; all when it is empty. */
  readonly platforms: readonly Platform[];
  /** Documents of other platforms as well. */
  readonly hasAllMetadata: boolean;
  readonly hasLayers: boolean;
  /** Blobs that are fetched at once. */
  readonly concurrency: number;
}

/**
 * Fetches what a reference leads to into the daemon's content store, by way of this program, and returns its descriptor.
 * `call` names the lease that keeps it.
 */
export async function fetchLocally(
  client: Client,
  remote: RegistryClient,
  output: Output,
  options: LocalFetchOptions,
  call: CallOptions,
): Promise<Descriptor> {
  const root = await remote.resolve();
  const shown = new TransferProgress(performance.now());
  using _display = new ProgressDisplay(output.terminal, shown);
  const progress = new Progress(({ event, name, parents, progressBytes, totalBytes }) => {
    const [done, total] = [BigInt(progressBytes), BigInt(totalBytes)];
    shown.add({ event, name, parents: [...parents], progress: done, total, desc: undefined });
  });
  progress.waiting(root, remote.name);
  await together(undefined, async (group) => {
    const fetch = new LocalFetch({ client, remote, progress, options, call, group });
    await fetch.run({ ...root, platform: undefined }, true);
  });
  return root;
}

interface FetchContext {
  readonly client: Client;
  readonly remote: RegistryClient;
  readonly progress: Progress;
  readonly options: LocalFetchOptions;
  readonly call: CallOptions;
  readonly group: TaskGroup;
}

class LocalFetch {
  readonly #context: FetchContext;
  readonly #limiter: Limiter;
  readonly #visited = new Set<string>();
  #documents = 0;

  constructor(context: FetchContext) {
    this.#context = context;
    this.#limiter = new Limiter(context.options.concurrency);
  }

  /** Fetches a blob and what it refers to; of what is not wanted no layers. */
  async run(blob: ImageReference, isWanted: boolean): Promise<void> {
    if (this.#visited.has(blob.digest)) return;
    this.#visited.add(blob.digest);
    const kind = mediaKind(blob.mediaType);
    const isDocument = kind === 'index' || kind === 'manifest';
    if (isDocument && ++this.#documents > MAX_DOCUMENTS) {
      const what = `image index ${blob.digest}`;
      throw new TsError('ResourceExhausted', `${what}: more than ${MAX_DOCUMENTS} documents`);
    }
    await this.#limiter.run(() => this.#fetch(blob));
    if (!isDocument) return;
    const { client, group, progress } = this.#context;
    const { digest, sizeBytes: size } = blob;
    const document = parseDocument(await readAll(client, { digest, size }), blob);
    await this.#label(digest, childLabels(childrenOf(document)));
    const parts = document.kind === 'index' ? this.#manifests(document.manifests, isWanted) : [];
    if (document.kind === 'manifest') {
      parts.push({ child: document.config, isWanted });
      const { hasLayers } = this.#context.options;
      if (isWanted && hasLayers) {
        parts.push(...document.layers.map((child) => ({ child, isWanted })));
      }
    }
    for (const { child } of parts) progress.waiting(child, blob);
    await Promise.all(parts.map((part) => group.start(() => this.#part(part))));
  }

  async #part({ child, isWanted }: Part): Promise<void> {
    try {
      await this.run(child, isWanted);
    } catch (thrown) {
      // Documents of other platforms are nice to have: mirrors often lack them.
      if (isWanted || TsError.from(thrown).kind !== 'NotFound') throw thrown;
    }
  }

  #manifests(manifests: readonly ImageReference[], isWanted: boolean): Part[] {
    const { platforms, hasAllMetadata } = this.#context.options;
    const best = platforms.map((one) => bestPlatform([one], manifests, (each) => each.platform));
    const isBest = (child: ImageReference): boolean =>
      platforms.length === 0 || child.platform === undefined || best.includes(child);
    return manifests
      .map((child) => ({ child, isWanted: isWanted && isBest(child) }))
      .filter((part) => part.isWanted || hasAllMetadata);
  }

  async #fetch(blob: ImageReference): Promise<void> {
    const { client, remote, progress, call, group } = this.#context;
    const { digest, sizeBytes } = blob;
    const ref = refKey(blob.mediaType, digest);
    let moved = 0;
    async function* bytes(offset: number) {
      if (offset === sizeBytes) return; // another namespace has it
      const { body, offsetBytes } = await remote.open(blob, offset, group.signal);
      let excess = offset - offsetBytes; // of a host that does not know ranges
      moved = offset;
      for await (const chunk of body) {
        const rest = chunk.subarray(excess);
        excess -= chunk.length - rest.length;
        moved += rest.length;
        if (moved > sizeBytes) {
          throw new TsError('FailedPrecondition', `${ref}: it has more than ${sizeBytes} bytes`);
        }
        progress.moved('downloading', blob, moved);
        yield rest;
      }
    }
    const labels = newSourceLabel(undefined, remote.reference);
    const write = { ref, expected: digest, total: BigInt(sizeBytes), labels };
    try {
      await remote.retrying(
        group.signal,
        () => resumeBlob(client, bytes, write, { ...call, signal: group.signal }),
        () => moved > 0,
      );
      progress.done('complete', blob);
    } catch (thrown) {
      const error = TsError.from(thrown);
      if (error.kind !== 'AlreadyExists') throw error.within(`fetch ${ref}`);
      const { info } = await client.service(Content).info({ digest });
      await this.#label(digest, newSourceLabel(info?.labels, remote.reference));
      progress.done('already exists', blob);
    }
  }

  async #label(digest: string, labels: ReadonlyMap<string, string>): Promise<void> {
    if (labels.size === 0) return;
    const { client, call } = this.#context;
    const request = { info: { digest, labels }, updateMask: { paths: labelPaths(labels) } };
    await client.service(Content).update(request, call);
  }
}

interface Part {
  readonly child: ImageReference;
  readonly isWanted: boolean;
}
