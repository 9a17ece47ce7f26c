import { TsError } from '../errors/index.ts';

/** `sha256:` or `sha512:` and lower-case hex. */
export type Digest = `${'sha256' | 'sha512'}:${string}`;

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Whether `text` is a digest: sha256 or sha512 in lower-case hex (image-spec descriptor.md#digests). */
export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/** `text` as a digest; `what` is said in the InvalidArgument: `image target`. */
export function parseDigest(text: string, what: string): Digest {
  if (isDigest(text)) return text;
  throw new TsError(
    'InvalidArgument',
    `${what}: ${JSON.stringify(text)} is not a sha256 or sha512 digest: invalid argument`,
    { code: 'TS_DIGEST_INVALID' },
  );
}

/** The parts of a digest; each is safe as a file name. */
export function splitDigest(digest: Digest): { algorithm: 'sha256' | 'sha512'; hex: string } {
  const [algorithm, hex] = digest.split(':');
  return { algorithm: algorithm as 'sha256' | 'sha512', hex: hex ?? '' };
}
