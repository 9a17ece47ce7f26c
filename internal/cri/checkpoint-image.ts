/**
 * Reads a checkpoint that is an image: what `checkpointctl build` makes of an archive, known by an annotation of its index or
 * manifest, as containerd 2.1 knows it.
 *
 * The attack is that on archives (checkpoint-archive.ts), by whoever may name an image for a pod: CRIU reads it as root and
 * trusts it. So images are taken where the administrator says that nobody else names them (`enable_checkpoint_images`), and
 * give what archives give. They are read from the layers, in which nothing is followed, without a mount.
 */
import { constants } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mount } from '../api/generated/containerd.types.ts';
import { TsError } from '../errors/index.ts';
import { LayeredFiles, layersOf } from '../rootfs/layered-files.ts';
import {
  type Checkpoint,
  CONFIG,
  checkpointIn,
  IMAGES,
  imageNameIn,
  incomplete,
  isImageFile,
  LOG,
  ROOTFS_DIFF,
} from './checkpoint-archive.ts';

/** Copies the checkpoint in an image, given by the mounts of its snapshot, into `directory`, which must not exist. */
export async function copyCheckpoint(
  image: string,
  mounts: readonly Mount[],
  directory: string,
): Promise<Checkpoint> {
  try {
    const layers = layersOf(mounts);
    if (layers === undefined) {
      throw new TsError('NotImplemented', 'its snapshotter has no directories of layers', {
        advice: 'give the archive itself',
      });
    }
    const files = new LayeredFiles(layers);
    await mkdir(join(directory, IMAGES), { recursive: true, mode: 0o700 });
    const name = imageNameIn(files.read(`/${CONFIG}`) ?? raise(incomplete(CONFIG)));
    const images = files.names(`/${IMAGES}`).map((each) => `${IMAGES}/${each}`);
    if (!images.some(isImageFile)) throw incomplete(`${IMAGES}/`);
    for (const path of [...images.filter(isImageFile), ROOTFS_DIFF, LOG]) {
      await copyEntry(files, path, join(directory, path));
    }
    return checkpointIn(directory, name);
  } catch (thrown) {
    throw TsError.from(thrown).within(`checkpoint ${image}`);
  }
}

/** What is not there is left out: an archive need not have all. */
async function copyEntry(files: LayeredFiles, path: string, target: string): Promise<void> {
  const found = files.at(`/${path}`);
  if (found === undefined) return;
  if (!found.stat.isFile()) {
    throw new TsError('InvalidArgument', `${path}: not a regular file`);
  }
  await copyFile(found.path, target, constants.COPYFILE_EXCL);
}

function raise(error: TsError): never {
  throw error;
}
