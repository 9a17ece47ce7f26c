import type { Descriptor as DescriptorMessage } from '../api/generated/containerd.types.ts';
import type { Init } from '../api/init.ts';
import type { Descriptor } from '../images/image-store.ts';
import { parseDigest } from '../oci/index.ts';
import { safeNumber } from './request.ts';

export function descriptorMessage(descriptor: Descriptor): Init<DescriptorMessage> {
  const { mediaType, digest, sizeBytes, annotations } = descriptor;
  return { mediaType, digest, size: BigInt(sizeBytes), annotations };
}

/** A descriptor from a request; a digest that is none is InvalidArgument. */
export function descriptorOf(message: DescriptorMessage): Descriptor {
  return {
    mediaType: message.mediaType,
    digest: parseDigest(message.digest, 'descriptor'),
    sizeBytes: safeNumber(message.size, 'descriptor size'),
    annotations: message.annotations,
  };
}
