/**
 * Reads an archive of {@link checkpointContainer}, ours or another engine's: what a container is restored from.
 *
 * The attacks: an archive that brings a spec, names, labels, mounts or annotations of its own (CVE-2026-53492,
 * CVE-2026-50195, CRI-O CVE-2024-8676), links in the place of its files (CVE-2026-53489), paths that lead out. An archive gives
 * memory, files and a log, and tells which image it belongs to; the rest of it is not read, and every file that is made of it
 * has a name that is given here. CRIU itself reads the images as root and trusts them, and so an archive has to be a file that
 * only root can have written: an image that somebody pulled is none.
 */
import { constants, createWriteStream, type Stats } from 'node:fs';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract, type Header } from 'tar-stream';
import { TsError } from '../errors/index.ts';

/** What an archive was unpacked to. */
export interface Checkpoint {
  /** Name or id of the image that the container was made from. */
  readonly image: string;
  /** Directory of CRIU's images. */
  readonly imagesPath: string;
  /** What the container had changed in its root, as a layer; a file that may be missing. */
  readonly rootfsDiffPath: string;
  /** Its log; a file that may be missing. */
  readonly logPath: string;
}

type Entry = AsyncIterable<Buffer> & { readonly header: Header; resume(): unknown };

/** CRIU's images, in their directory. */
export const IMAGES = 'checkpoint';
const IMAGE_FILE = /^checkpoint\/[A-Za-z0-9._-]{1,200}$/;
export const ROOTFS_DIFF = 'rootfs-diff.tar';
export const LOG = 'container.log';
export const CONFIG = 'config.dump';
const MAX_CONFIG_BYTES = 1 << 20;
/** CRIU writes some files for each process. */
const MAX_ENTRIES = 100_000;
const OTHERS_MAY_WRITE = 0o022;

/** Paths in archives are sometimes written `./path`. */
const nameOf = ({ name }: Header): string => name.replace(/^(?:\.\/)+/, '');

/** Unpacks an archive into `directory`, which must not exist. Throws InvalidArgument for what is no checkpoint. */
export async function unpackCheckpoint(path: string, directory: string): Promise<Checkpoint> {
  const place = `checkpoint ${path}`;
  try {
    await using archive = await openArchive(path);
    await mkdir(join(directory, IMAGES), { recursive: true, mode: 0o700 });
    const tar = extract();
    const reading = readEntries(tar as unknown as AsyncIterable<Entry>, directory);
    const source = archive.createReadStream({ autoClose: false });
    const [image] = await Promise.all([reading, pipeline(source, tar)]);
    return checkpointIn(directory, image);
  } catch (thrown) {
    throw TsError.from(thrown).within(place);
  }
}

/** A checkpoint whose files are in `directory`. */
export function checkpointIn(directory: string, image: string): Checkpoint {
  return {
    image,
    imagesPath: join(directory, IMAGES),
    rootfsDiffPath: join(directory, ROOTFS_DIFF),
    logPath: join(directory, LOG),
  };
}

async function openArchive(path: string): Promise<FileHandle> {
  let archive: FileHandle;
  try {
    archive = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (thrown) {
    throw TsError.from(thrown, 'open');
  }
  try {
    refuseForeign(await archive.stat());
    return archive;
  } catch (thrown) {
    await archive.close();
    throw thrown;
  }
}

function refuseForeign(stat: Stats): void {
  if (!stat.isFile()) throw new TsError('InvalidArgument', 'not a regular file');
  if (stat.uid === 0 && (stat.mode & OTHERS_MAY_WRITE) === 0) return;
  throw new TsError('PermissionDenied', 'others than root may write it', {
    advice:
      'chown it to root and take the right to write from others, if you know where it is from',
  });
}

/** Returns the name of the image. */
async function readEntries(tar: AsyncIterable<Entry>, directory: string): Promise<string> {
  let image: string | undefined;
  let hasImages = false;
  let entries = 0;
  for await (const entry of tar) {
    if (++entries > MAX_ENTRIES) {
      throw new TsError('ResourceExhausted', `more than ${MAX_ENTRIES} entries`);
    }
    const name = nameOf(entry.header);
    const isImage = isImageFile(name);
    if (isImage || name === ROOTFS_DIFF || name === LOG) {
      await writeEntry(entry, name, join(directory, name));
      hasImages ||= isImage;
    } else if (name === CONFIG) image = await readImageName(entry);
    entry.resume(); // what was not read is skipped
  }
  if (image === undefined || !hasImages)
    throw incomplete(image === undefined ? CONFIG : `${IMAGES}/`);
  return image;
}

/** The error of what lacks a part of a checkpoint. */
export function incomplete(missing: string): TsError {
  return new TsError('InvalidArgument', `no ${missing} in it`, {
    advice: 'give an archive that CheckpointContainer has written',
  });
}

/** Whether a path in a checkpoint is that of a file of CRIU's. */
export const isImageFile = (path: string): boolean => IMAGE_FILE.test(path);

function requireFile({ header }: Entry, name: string): void {
  if (header.type === 'file') return;
  throw new TsError('InvalidArgument', `${name}: a ${header.type} instead of a file`);
}

async function writeEntry(entry: Entry, name: string, path: string): Promise<void> {
  requireFile(entry, name);
  // A name that comes twice is refused by `wx`: two readers might take different ones for the file.
  await pipeline(entry, createWriteStream(path, { flags: 'wx', mode: 0o600 }));
}

async function readImageName(entry: Entry): Promise<string> {
  requireFile(entry, CONFIG);
  const chunks: Buffer[] = [];
  if ((entry.header.size ?? 0) > MAX_CONFIG_BYTES) {
    throw new TsError('InvalidArgument', `${CONFIG}: larger than ${MAX_CONFIG_BYTES} bytes`);
  }
  for await (const chunk of entry) chunks.push(chunk);
  return imageNameIn(Buffer.concat(chunks).toString('utf8'));
}

/** The name of the image, in the text of config.dump. */
export function imageNameIn(text: string): string {
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (cause) {
    throw new TsError('InvalidArgument', `${CONFIG}: not JSON`, { cause });
  }
  const reference: unknown =
    typeof config === 'object' && config !== null && 'rootfsImageRef' in config
      ? config.rootfsImageRef
      : undefined;
  if (typeof reference === 'string' && reference !== '') return reference;
  throw new TsError('InvalidArgument', `${CONFIG}: no rootfsImageRef`);
}
