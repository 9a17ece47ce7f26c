import type { FilesystemUsage, ImageService, ImageSpec } from '../api/generated/runtime.v1.ts';
import type { Init } from '../api/init.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { nowNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import { formatJson } from '../oci/index.ts';
import type { GrpcContext } from '../services/context.ts';
import type { Cri } from './cri.ts';
import { type CriImage, imageMessage } from './cri-images.ts';

/** CRI's ImageService (cri-api runtime/v1). */
export function imageService(cri: Cri): ServiceHandlers<typeof ImageService, GrpcContext> {
  const { images } = cri;
  const list = async (filter: ImageSpec | undefined): Promise<CriImage[]> => {
    const name = filter?.image ?? '';
    if (name === '') return await images.list();
    const found = await images.find(name);
    return found === undefined ? [] : [found];
  };
  return {
    async listImages({ filter }) {
      return { images: (await list(filter?.image)).map(imageMessage) };
    },
    async *streamImages({ filter }) {
      yield { images: (await list(filter?.image)).map(imageMessage) };
    },
    async imageStatus({ image, verbose }) {
      const found = await images.find(nameOf(image));
      if (found === undefined) return { info: [] };
      const info: [string, string][] = verbose
        ? [['info', formatJson({ chainID: found.chainId, imageSpec: found.config })]]
        : [];
      return { image: imageMessage(found), info };
    },
    async pullImage({ image, auth, sandboxConfig: _config }, { signal }) {
      const { runtime } = cri.sandboxes.runtime(image?.runtimeHandler ?? '');
      const pulled = await images.pull(nameOf(image), auth, signal, runtime.snapshotter);
      return { imageRef: pulled.id };
    },
    async removeImage({ image }) {
      await images.remove(nameOf(image));
      return {};
    },
    async imageFsInfo() {
      const usage = await fileSystemUsage(cri);
      return { imageFilesystems: [usage], containerFilesystems: [usage] };
    },
  };
}

function nameOf(image: ImageSpec | undefined): string {
  const name = image?.image ?? '';
  if (name === '') throw new TsError('InvalidArgument', 'image.image: missing');
  return name;
}

/** What the snapshots take, by the records of the snapshotter, on the file system that has them. */
async function fileSystemUsage({ services, settings }: Cri): Promise<Init<FilesystemUsage>> {
  const { snapshotter } = settings;
  let bytes = 0n;
  let inodes = 0n;
  for await (const { info } of services.snapshots.list({ snapshotter })) {
    const usages = await Promise.all(
      info.map(({ name }) =>
        services.snapshots.usage({ snapshotter, key: name }).catch((thrown: unknown) => {
          if (TsError.from(thrown).kind === 'NotFound') return { size: 0n, inodes: 0n };
          throw thrown;
        }),
      ),
    );
    for (const usage of usages) {
      bytes += usage.size;
      inodes += usage.inodes;
    }
  }
  return {
    timestamp: nowNs(),
    fsId: { mountpoint: services.snapshotterRoot(snapshotter) },
    usedBytes: { value: bytes },
    inodesUsed: { value: inodes },
  };
}
