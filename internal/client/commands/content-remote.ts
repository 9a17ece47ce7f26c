// Single objects of a registry, which this program asks for itself: the daemon knows whole images only.
import { createHash } from 'node:crypto';
import { Content } from '../../api/generated/containerd.services.content.v1.ts';
import { TsError } from '../../errors/index.ts';
import { type Descriptor, mediaKind, parseDigest, splitDigest } from '../../oci/index.ts';
import type { RegistryClient } from '../../registry/registry-client.ts';
import { RegistryUpload } from '../../registry/registry-upload.ts';
import type { Command, CommandContext } from '../command.ts';
import { readAll, readBlob } from '../image-content.ts';
import { argument, digestArgument } from '../labels.ts';
import type { Output } from '../output.ts';
import { openRegistry, REGISTRY_FLAGS } from '../registry-flags.ts';

const REMOTE_MISSING = 'please provide a reference of a registry';

/** `tsctr content fetch-object`. */
export const FETCH_OBJECT: Command = {
  name: 'fetch-object',
  summary: 'print what a reference of a registry leads to',
  usage: '<remote>',
  objects: ['text'],
  isLocal: true,
  flags: REGISTRY_FLAGS,
  async run({ args, flags, output }) {
    const reference = argument(args, 0, REMOTE_MISSING);
    using registry = await openRegistry(reference, flags, 'pull', output);
    await print(registry.client, await resolve(registry.client), output);
  },
};

/** `tsctr content fetch-blob`. */
export const FETCH_BLOB: Command = {
  name: 'fetch-blob',
  summary: 'print blobs of a registry',
  usage: '<remote> <digest>...',
  objects: ['text'],
  isLocal: true,
  flags: {
    ...REGISTRY_FLAGS,
    'media-type': { type: 'string', usage: 'of the blobs: that of a manifest finds manifests' },
  },
  async run({ args, flags, output }) {
    const digests = args.slice(1).map(digestArgument);
    if (digests.length === 0) throw new TsError('InvalidArgument', 'must specify digests');
    const mediaType = flags.string('media-type') ?? '';
    using registry = await openRegistry(args[0] ?? '', flags, 'pull', output);
    for (const digest of digests) {
      await print(registry.client, descriptor(mediaType, digest), output);
    }
  },
};

/** `tsctr content push-object`. */
export const PUSH_OBJECT: Command = {
  name: 'push-object',
  summary: 'push one blob or document to a registry',
  usage: '<remote> <digest> <media type>',
  objects: ['text', 'content', 'text'],
  flags: REGISTRY_FLAGS,
  run: pushObject,
};

async function pushObject({ client, args, flags, output }: CommandContext): Promise<void> {
  const digest = digestArgument(args[1] ?? '');
  const mediaType = args[2] ?? '';
  const { info } = await client.service(Content).info({ digest });
  const object = descriptor(mediaType, digest, Number(info?.size ?? 0n));
  using registry = await openRegistry(args[0] ?? '', flags, 'push', output);
  const remote = registry.client;
  const upload = new RegistryUpload(remote, undefined);
  const target = remote.reference.tag ?? digest;
  const isDocument = ['index', 'manifest'].includes(mediaKind(mediaType));
  const isNew = await remote.retrying(undefined, async () => {
    if (isDocument) {
      if (await upload.hasDocument(object, target)) return false;
      await upload.putDocument(
        object,
        target,
        await readAll(client, { digest, size: object.sizeBytes }),
      );
    } else {
      if (await upload.hasBlob(object)) return false;
      await upload.putBlob(object, readBlob(client, digest), undefined);
    }
    return true;
  });
  if (!isNew) {
    throw new TsError('AlreadyExists', `content ${digest} on remote: already exists`);
  }
  output.line(`Pushed ${digest} ${mediaType}`);
}

/** What the reference leads to: a document, or by its digest a blob. */
async function resolve(client: RegistryClient): Promise<Descriptor> {
  const { digest, tag } = client.reference;
  if (digest === undefined && tag === undefined) {
    throw new TsError('InvalidArgument', 'object required', {
      advice: 'name the tag or the digest, for example :latest',
    });
  }
  if (digest === undefined) return await client.resolve();
  // A blob first: registries have been seen to answer 500 when asked for a layer as a manifest.
  const blob = descriptor('', parseDigest(digest, 'reference'));
  try {
    (await client.open(blob, 0)).discard();
    return blob;
  } catch (thrown) {
    if (TsError.from(thrown).kind !== 'NotFound') throw thrown;
    return await client.resolve();
  }
}

/** Prints a blob as it comes. Throws FailedPrecondition when it was not what its digest says. */
async function print(client: RegistryClient, blob: Descriptor, output: Output): Promise<void> {
  const { algorithm, hex } = splitDigest(blob.digest);
  const hash = createHash(algorithm);
  const { body } = await client.retrying(undefined, () => client.open(blob, 0));
  for await (const chunk of body) {
    hash.update(chunk);
    await output.writeSlowly(chunk);
  }
  const found = hash.digest('hex');
  if (found === hex) return;
  throw new TsError('FailedPrecondition', `${blob.digest}: what came has ${algorithm}:${found}`);
}

function descriptor(mediaType: string, digest: Descriptor['digest'], sizeBytes = 0): Descriptor {
  return { mediaType, digest, sizeBytes, annotations: new Map() };
}
