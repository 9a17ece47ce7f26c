import { Content } from '../api/generated/containerd.services.content.v1.ts';
import { type Platform, parseDigest } from '../oci/index.ts';
import { ImagePush, type PushContext, type PushSource } from '../registry/image-push.ts';
import { Progress } from '../registry/progress.ts';
import { sourceLabel } from '../registry/reference.ts';
import type { RegistryClient } from '../registry/registry-client.ts';
import { together } from '../registry/task-group.ts';
import type { Client } from './client.ts';
import { type Descriptor, manifestFor, readAll, readBlob, readTree } from './image-content.ts';
import type { Output } from './output.ts';
import { TransferProgress } from './progress.ts';
import { ProgressDisplay } from './progress-display.ts';

/** How an image is pushed. */
export type LocalPushOptions = Pick<PushContext, 'platforms' | 'concurrency' | 'pushesForeign'>;

/**
 * Pushes what `root` leads to from the daemon's content store, by way of this program. With one platform
 * of an index, its manifest alone, under the reference's tag.
 */
export async function pushLocally(
  client: Client,
  remote: RegistryClient,
  output: Output,
  root: Descriptor,
  options: LocalPushOptions,
): Promise<void> {
  const { digest, mediaType } = await narrowed(client, root, options.platforms);
  const { info } = await client.service(Content).info({ digest });
  const progress = new TransferProgress(performance.now());
  using _display = new ProgressDisplay(output.terminal, progress);
  const sink = new Progress(({ event, name, parents, progressBytes, totalBytes }) => {
    const [done, total] = [BigInt(progressBytes), BigInt(totalBytes)];
    progress.add({ event, name, parents: [...parents], progress: done, total, desc: undefined });
  });
  const source = sourceOf(client, remote.reference.host);
  await together(undefined, async (group) => {
    const push = new ImagePush({ ...options, source, client: remote, progress: sink, group });
    const sizeBytes = Number(info?.size ?? 0n);
    await push.run(
      { mediaType, digest: parseDigest(digest, 'push'), sizeBytes, annotations: new Map() },
      remote.name,
    );
  });
}

async function narrowed(
  client: Client,
  root: Descriptor,
  [platform, ...others]: readonly Platform[],
): Promise<Descriptor> {
  if (platform === undefined || others.length > 0) return root;
  return manifestFor(await readTree(client, root), platform)?.descriptor ?? root;
}

function sourceOf(client: Client, host: string): PushSource {
  const label = sourceLabel(host);
  return {
    readDocument: ({ digest, sizeBytes }) => readAll(client, { digest, size: sizeBytes }),
    read: ({ digest }) => readBlob(client, digest),
    async repositoriesOf({ digest }) {
      const { info } = await client.service(Content).info({ digest });
      return info?.labels.get(label)?.split(',') ?? [];
    },
  };
}
