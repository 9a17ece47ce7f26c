import type {
  Image as ImageMessage,
  Images,
} from '../api/generated/containerd.services.images.v1.ts';
import type { Init } from '../api/init.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { timestampFromNs, timestampToNs } from '../api/time.ts';
import type { Digest } from '../content/content-store.ts';
import type { Image, ImageStore, NewImage } from '../images/image-store.ts';
import type { GrpcContext } from './context.ts';
import { required, safeNumber } from './request.ts';

export function imagesService(store: ImageStore): ServiceHandlers<typeof Images, GrpcContext> {
  return {
    get: async ({ name }, { scope }) => ({ image: imageMessage(store.get(scope, name)) }),
    list: async ({ filters }, { scope }) => ({
      images: store.list(scope, filters).map(imageMessage),
    }),
    async create({ image, sourceDateEpoch }, { scope }) {
      const created = newImage(required(image, 'image'));
      const at = sourceDateEpoch && timestampToNs(sourceDateEpoch);
      return { image: imageMessage(store.create(scope, created, at)) };
    },
    async update({ image, updateMask, sourceDateEpoch }, { scope }) {
      const update = newImage(required(image, 'image'));
      const at = sourceDateEpoch && timestampToNs(sourceDateEpoch);
      return { image: imageMessage(store.update(scope, update, updateMask?.paths ?? [], at)) };
    },
    async delete({ name, sync, target }, { scope }) {
      const digest = target === undefined || target.digest === '' ? undefined : target.digest;
      await store.delete(scope, name, {
        synchronous: sync,
        ...(digest === undefined ? {} : { target: digest }),
      });
      return {};
    },
  };
}

/** An update may leave the target out or empty, when its field mask names labels only: the store
 * checks the digest of what it stores. */
function newImage({ name, labels, target }: ImageMessage): NewImage {
  return {
    name,
    labels,
    target: {
      mediaType: target?.mediaType ?? '',
      digest: (target?.digest ?? '') as Digest,
      sizeBytes: safeNumber(target?.size ?? 0n, 'image Target.Size'),
      annotations: target?.annotations ?? new Map(),
    },
  };
}

function imageMessage({ name, labels, target, createdAt, updatedAt }: Image): Init<ImageMessage> {
  const { mediaType, digest, sizeBytes, annotations } = target;
  return {
    name,
    labels,
    target: { mediaType, digest, size: BigInt(sizeBytes), annotations },
    createdAt: timestampFromNs(createdAt),
    updatedAt: timestampFromNs(updatedAt),
  };
}
