import { type Image, Images } from '../api/generated/containerd.services.images.v1.ts';
import type { Init } from '../api/init.ts';
import type { CallOptions } from '../api/service.ts';
import { TsError } from '../errors/index.ts';
import type { Client } from './client.ts';

/** Stores the record of an image; a name that is taken goes over to it, as with ctr. */
export async function storeImage(
  client: Client,
  image: Init<Image>,
  options?: CallOptions,
): Promise<void> {
  const images = client.service(Images);
  try {
    await images.create({ image }, options);
  } catch (thrown) {
    if (TsError.from(thrown).kind !== 'AlreadyExists') throw thrown;
    await images.update({ image }, options);
  }
}
