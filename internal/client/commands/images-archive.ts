import { once } from 'node:events';
import { createReadStream, createWriteStream, openSync } from 'node:fs';
import { packAny } from '../../api/any.ts';
import { Images } from '../../api/generated/containerd.services.images.v1.ts';
import {
  ImageExportStream,
  ImageImportStream,
  ImageStore,
} from '../../api/generated/containerd.types.transfer.ts';
import { TsError } from '../../errors/index.ts';
import type { FlagSpecs, FlagValues } from '../../flags/flag-parser.ts';
import { ArchiveEnd } from '../archive-end.ts';
import type { Command, CommandContext } from '../command.ts';
import { argument, labelFlags } from '../labels.ts';
import { SNAPSHOTTER_FLAG, snapshotterOf } from '../snapshotter.ts';
import { NamedStream } from '../streams.ts';
import { transfer } from '../transfer.ts';
import { platformsOf, storePlatforms } from './images-pull.ts';

const PLATFORM_FLAGS: FlagSpecs = {
  platform: { type: 'string[]', usage: 'of these platforms (repeatable)' },
  'all-platforms': { type: 'bool', usage: 'of all platforms' },
};

/** `tsctr images import`. */
export const IMPORT: Command = {
  name: 'import',
  summary: 'import images from an archive of OCI or Docker; - is standard input',
  usage: '<in>',
  objects: ['file'],
  flags: {
    'base-name': {
      type: 'string',
      usage: 'name before the tags of the archive; others are left out',
    },
    digests: { type: 'bool', usage: 'store images by digest too' },
    'skip-digest-for-named': { type: 'bool', usage: 'not those that have a name' },
    'index-name': { type: 'string', usage: 'store the whole index under this name' },
    ...PLATFORM_FLAGS,
    'no-unpack': { type: 'bool', usage: 'do not unpack them' },
    'compress-blobs': { type: 'bool', usage: 'compress layers that are not' },
    ...SNAPSHOTTER_FLAG,
    label: { type: 'string[]', usage: 'label of the images (repeatable)' },
    local: { type: 'bool', hidden: true, usage: 'ignored: the daemon always imports' },
    'sync-fs': { type: 'bool', hidden: true, usage: "ignored: the daemon's configuration decides" },
    'discard-unpacked-layers': {
      type: 'bool',
      hidden: true,
      usage: "ignored: the daemon's configuration decides",
    },
  },
  run: importImages,
};

/** `tsctr images export`. */
export const EXPORT: Command = {
  name: 'export',
  summary: 'write images into an archive that OCI tools and Docker read; - is standard output',
  usage: '<out> <image>...',
  objects: ['file', 'image'],
  flags: {
    'skip-manifest-json': { type: 'bool', usage: "leave out Docker's manifest.json" },
    'skip-non-distributable': { type: 'bool', usage: 'leave out layers that may not be passed on' },
    ...PLATFORM_FLAGS,
    local: { type: 'bool', hidden: true, usage: 'ignored: the daemon always exports' },
  },
  run: exportImages,
};

async function importImages({ client, args, flags, output }: CommandContext): Promise<void> {
  const path = argument(args, 0, 'please provide an archive to import; - is standard input');
  const platforms = platformsOf(flags);
  const snapshotter = snapshotterOf(flags);
  const file = path === '-' ? process.stdin : openForReading(path);
  const stream = await NamedStream.open(client, 'import');
  const source = packAny(ImageImportStream, {
    stream: stream.name,
    mediaType: '',
    forceCompress: flags.bool('compress-blobs'),
  });
  const destination = packAny(ImageStore, {
    name: flags.string('index-name') ?? '',
    labels: labelFlags(flags.strings('label')),
    ...storePlatforms(flags, platforms),
    extraReferences: [nameRule(flags)],
    unpacks: flags.bool('no-unpack')
      ? []
      : platforms.map((platform) => ({ platform, snapshotter })),
  });
  const sent = stream.sendBytes(file);
  sent.catch(() => undefined); // looked at below, unless the transfer itself fails first
  const saved = await transfer(client, output, source, destination);
  await sent;
  if (output.format === 'json') output.json(saved);
  else for (const name of saved) output.line(name);
}

/** Under which names the images of an archive are stored: those they have, or tags behind a base name. */
function nameRule(flags: FlagValues) {
  const base = flags.string('base-name') ?? '';
  const today = new Date().toISOString().slice(0, 10);
  return {
    name: base === '' ? `import-${today}` : base,
    isPrefix: true,
    allowOverwrite: base === '',
    addDigest: flags.bool('digests'),
    skipNamedDigest: flags.bool('skip-digest-for-named'),
  };
}

function openForReading(path: string) {
  try {
    return createReadStream(path, { fd: openSync(path, 'r') });
  } catch (thrown) {
    throw TsError.from(thrown, `open ${path}`);
  }
}

async function exportImages({ client, args, flags, output }: CommandContext): Promise<void> {
  const missing = 'please provide both an output filename and an image reference to export';
  const path = argument(args, 0, missing);
  const name = argument(args, 1, missing);
  // An image that is not there is found out before a file is made.
  for (const each of args.slice(1)) await client.service(Images).get({ name: each });
  const stream = await NamedStream.open(client, 'export');
  const isAll = flags.bool('all-platforms');
  const source = packAny(ImageStore, {
    name,
    extraReferences: args.slice(2).map((each) => ({ name: each })),
  });
  const destination = packAny(ImageExportStream, {
    stream: stream.name,
    mediaType: '',
    platforms: isAll ? [] : platformsOf(flags),
    allPlatforms: isAll,
    skipCompatibilityManifest: flags.bool('skip-manifest-json'),
    skipNonDistributable: flags.bool('skip-non-distributable'),
  });
  const written = writeArchive(path, stream);
  written.catch(() => undefined); // looked at below, unless the transfer itself fails first
  await transfer(client, output, source, destination);
  await written;
}

async function writeArchive(path: string, stream: NamedStream): Promise<void> {
  const file = path === '-' ? process.stdout : openForWriting(path);
  const end = new ArchiveEnd();
  for await (const chunk of stream.bytes()) {
    if (!file.write(chunk)) await once(file, 'drain');
    end.push(chunk);
    if (end.isReached) break;
  }
  stream.close();
  if (!end.isReached)
    throw new TsError('DataLoss', `export to ${path}: the archive ends too early`);
  if (file === process.stdout) return;
  await new Promise<void>((resolve, reject) => {
    file.once('error', reject);
    file.end(resolve);
  });
}

function openForWriting(path: string) {
  try {
    return createWriteStream(path, { fd: openSync(path, 'w') });
  } catch (thrown) {
    throw TsError.from(thrown, `open ${path}`);
  }
}
