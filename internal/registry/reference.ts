import { TsError } from '../errors/index.ts';
import { isDigest } from '../oci/index.ts';

/** A full image reference as containerd's clients write it: `HOST[:PORT]/PATH[:TAG][@DIGEST]`. */
export interface Reference {
  /** Registry, with its port: `docker.io`, `127.0.0.1:5000`. */
  readonly host: string;
  /** Repository on it: `library/busybox`. */
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?$/;
const PATH = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** Parses a full reference. Throws InvalidArgument that says which part is wrong. */
export function parseReference(text: string): Reference {
  const slash = text.indexOf('/');
  if (slash < 1) {
    throw invalid(text, 'it has no registry host', `write it in full: docker.io/library/${text}`);
  }
  const host = text.slice(0, slash);
  if (!HOST.test(host)) throw invalid(text, `${JSON.stringify(host)} is not a registry host`);
  const [named = '', digest, ...more] = text.slice(slash + 1).split('@');
  if (more.length > 0) throw invalid(text, 'it has two digests');
  if (digest !== undefined && !isDigest(digest)) {
    throw invalid(text, `${JSON.stringify(digest)} is not a sha256 or sha512 digest`);
  }
  const colon = named.indexOf(':');
  const repository = colon === -1 ? named : named.slice(0, colon);
  const tag = colon === -1 ? undefined : named.slice(colon + 1);
  if (!PATH.test(repository) || repository.length > 255) {
    throw invalid(text, `${JSON.stringify(repository)} is not a repository name`);
  }
  if (tag !== undefined && !TAG.test(tag)) {
    throw invalid(text, `${JSON.stringify(tag)} is not a tag`);
  }
  return { host, repository, tag, digest };
}

/** The reference as text. */
export function formatReference({ host, repository, tag, digest }: Reference): string {
  const named = tag === undefined ? repository : `${repository}:${tag}`;
  return `${host}/${digest === undefined ? named : `${named}@${digest}`}`;
}

/**
 * Makes what people type to Docker a full reference: `busybox` is `docker.io/library/busybox:latest`
 * (distribution/reference ParseDockerRef).
 */
export function normalizeDockerReference(text: string): string {
  const first = text.split('/', 1)[0] ?? '';
  const hasHost = text.includes('/') && (/[.:]/.test(first) || first === 'localhost');
  const full = hasHost ? text : `docker.io/${text}`;
  const inLibrary = /^(?:index\.)?docker\.io\/[^/]+$/.test(full)
    ? full.replace(/^(?:index\.)?docker\.io\//, 'docker.io/library/')
    : full.replace(/^index\.docker\.io\//, 'docker.io/');
  const reference = parseReference(inLibrary);
  const { tag, digest } = reference;
  // A digest says more than a tag: the tag is dropped, as Docker does.
  if (digest !== undefined) return formatReference({ ...reference, tag: undefined });
  return formatReference({ ...reference, tag: tag ?? 'latest' });
}

/** A full reference as Docker shows it: without `docker.io/library/`, with a tag. */
export function familiarReference(text: string): string {
  const reference = parseReference(normalizeDockerReference(text));
  return formatReference(reference).replace(/^docker\.io\/(?:library\/)?/, '');
}

function invalid(text: string, why: string, advice?: string): TsError {
  return new TsError('InvalidArgument', `image reference ${JSON.stringify(text)}: ${why}`, {
    code: 'TS_IMAGE_REFERENCE',
    ...(advice === undefined ? {} : { advice }),
  });
}

/** What containerd takes of a label's key and value together. */
const MAX_LABEL_BYTES = 4096;

/** Label of a blob with the repositories of a registry that it came from; containerd leaves out the port. */
export function sourceLabel(host: string): string {
  return `containerd.io/distribution.source.${host.replace(/:[0-9]+$/, '')}`;
}

/** The label that says so too of the repository of `reference`; none when it is there, or would be too long. */
export function newSourceLabel(
  before: ReadonlyMap<string, string> | undefined,
  { host, repository }: Reference,
): Map<string, string> {
  const key = sourceLabel(host);
  const sources = new Set(before?.get(key)?.split(','));
  if (sources.has(repository)) return new Map();
  const value = [...sources, repository].sort().join(',');
  return key.length + value.length <= MAX_LABEL_BYTES ? new Map([[key, value]]) : new Map();
}
