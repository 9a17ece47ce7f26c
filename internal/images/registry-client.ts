/** Images of one repository in a registry (distribution-spec), over the hosts that may have them. */
import { createHash } from 'node:crypto';
import type { Digest } from '../content/content-store.ts';
import { isDigest, parseDigest } from '../content/digest.ts';
import { TsError } from '../errors/index.ts';
import { MAX_DOCUMENT_BYTES } from './image-document.ts';
import type { Descriptor } from './image-store.ts';
import { MediaType, mediaKind } from './media-type.ts';
import { parseReference, type Reference } from './reference.ts';
import type { CredentialSource } from './registry-auth.ts';
import { type Capability, registryHosts } from './registry-hosts.ts';
import { type HttpResponse, readText, statusError } from './registry-http.ts';
import { RegistrySession } from './registry-session.ts';
import { DEFAULT_RETRY, type RetryPolicy, retrying } from './retry.ts';

export interface RegistryOptions {
  /** Full reference: `docker.io/library/busybox:latest`. */
  readonly reference: string;
  readonly credentials: CredentialSource;
  /** Headers for each request. */
  readonly headers: ReadonlyMap<string, string>;
  readonly hostDir: string;
  readonly defaultScheme: string;
  readonly retry?: RetryPolicy;
}

/** Bytes of a blob from some offset on. */
export interface BlobBody {
  readonly body: AsyncIterable<Buffer>;
  /** Where the body begins: the offset asked for, or 0 when the host does not know ranges. */
  readonly offsetBytes: number;
  discard(): void;
}

const ACCEPT = [
  MediaType.ociIndex,
  MediaType.ociManifest,
  MediaType.dockerIndex,
  MediaType.dockerManifest,
  '*/*',
].join(', ');

export class RegistryClient {
  readonly reference: Reference;
  readonly #sessions: readonly RegistrySession[];
  readonly #retry: RetryPolicy;

  private constructor(
    reference: Reference,
    sessions: readonly RegistrySession[],
    retry: RetryPolicy,
  ) {
    this.reference = reference;
    this.#sessions = sessions;
    this.#retry = retry;
  }

  /** A client for the repository of a reference; `action` is what tokens must allow. */
  static async open(options: RegistryOptions, action: 'pull' | 'push'): Promise<RegistryClient> {
    const reference = parseReference(options.reference);
    const hosts = await registryHosts(reference.host, options);
    const actions = action === 'push' ? 'pull,push' : 'pull';
    const scope = `repository:${reference.repository}:${actions}`;
    const { headers, credentials } = options;
    const sessions = hosts.map((host) => new RegistrySession(host, scope, headers, credentials));
    return new RegistryClient(reference, sessions, options.retry ?? DEFAULT_RETRY);
  }

  /** What the reference points to. The registry's digest is checked against its document. */
  async resolve(signal?: AbortSignal): Promise<Descriptor> {
    const { tag, digest } = this.reference;
    const target = digest ?? tag;
    if (target === undefined) {
      throw new TsError('InvalidArgument', 'image reference: it has neither tag nor digest', {
        advice: 'name the tag, for example :latest',
      });
    }
    const path = `/${this.reference.repository}/manifests/${target}`;
    const ask = async (session: RegistrySession): Promise<Descriptor> => {
      const head = await session.send({ method: 'HEAD', path, headers: ACCEPT_ALL, signal });
      await readText(head, 0); // a HEAD has no body: this gives the connection back
      const described = head.status === 200 ? descriptorOfHeaders(head, digest) : undefined;
      if (described !== undefined) return described;
      // An error of a HEAD has no text, and some registries know no HEAD.
      return await this.#resolveByGet(session, path, digest, signal);
    };
    return await this.#tryHosts(
      'resolve',
      (session) => this.retrying(signal, () => ask(session)),
      signal,
    );
  }

  /** Opens a blob or document from `offset` on; asks each host once, since the caller retries. */
  async open(descriptor: Descriptor, offset: number, signal?: AbortSignal): Promise<BlobBody> {
    const kind = mediaKind(descriptor.mediaType);
    const isDocument = kind === 'index' || kind === 'manifest';
    const folder = isDocument ? 'manifests' : 'blobs';
    const path = `/${this.reference.repository}/${folder}/${descriptor.digest}`;
    const headers = new Map([['accept', isDocument ? `${descriptor.mediaType}, */*` : '*/*']]);
    if (offset > 0) headers.set('range', `bytes=${offset}-`);
    return await this.#tryHosts(
      'pull',
      async (session) => {
        const response = await session.send({ method: 'GET', path, headers, signal });
        const { body } = response;
        const discard = (): void => response.discard();
        if (response.status === 206 && rangeStart(response) === offset) {
          return { body, offsetBytes: offset, discard };
        }
        if (response.status === 200) return { body, offsetBytes: 0, discard };
        throw await statusError(response);
      },
      signal,
    );
  }

  /** The host that takes pushes. */
  pushSession(): RegistrySession {
    const session = this.#sessions.find(({ host }) => host.capabilities.has('push'));
    if (session !== undefined) return session;
    throw new TsError(
      'FailedPrecondition',
      `push to ${this.reference.host}: no host takes pushes`,
      {
        advice: 'add "push" to the capabilities of a host in hosts.toml',
      },
    );
  }

  /** Repeats `work` while it fails for a passing reason. */
  async retrying<T>(
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
    progressed?: () => boolean,
  ): Promise<T> {
    return await retrying(this.#retry, signal, work, progressed);
  }

  close(): void {
    for (const session of this.#sessions) session.close();
  }

  /** Some registries answer HEAD without a digest, or not at all: the document says it. */
  async #resolveByGet(
    session: RegistrySession,
    path: string,
    expected: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Descriptor> {
    const response = await session.send({ method: 'GET', path, headers: ACCEPT_ALL, signal });
    if (response.status !== 200) throw await statusError(response);
    const bytes = await readText(response, MAX_DOCUMENT_BYTES);
    const algorithm = expected?.startsWith('sha512:') ? 'sha512' : 'sha256';
    const digest = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
    if (expected !== undefined && digest !== expected) {
      throw new TsError(
        'FailedPrecondition',
        `${response.what}: the answer has the digest ${digest}`,
      );
    }
    return {
      mediaType: mediaTypeOf(response),
      digest: parseDigest(digest, response.what),
      sizeBytes: bytes.length,
      annotations: new Map(),
    };
  }

  /**
   * Tries the hosts in order; the error of the last one is the error of all, since that is the
   * registry itself.
   */
  async #tryHosts<T>(
    capability: Capability,
    work: (session: RegistrySession) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const errors: TsError[] = [];
    for (const session of this.#sessions) {
      if (!session.host.capabilities.has(capability)) continue;
      try {
        return await work(session);
      } catch (error) {
        if (signal?.aborted === true) throw error;
        errors.push(TsError.from(error));
      }
    }
    const last = errors.pop();
    if (last === undefined) {
      throw new TsError('FailedPrecondition', `${this.reference.host}: no host may ${capability}`);
    }
    last.cleanup.push(...errors); // for the log: which mirrors were tried before, and why not
    throw last;
  }
}

const ACCEPT_ALL: ReadonlyMap<string, string> = new Map([['accept', ACCEPT]]);

function descriptorOfHeaders(
  response: HttpResponse,
  expected: string | undefined,
): Descriptor | undefined {
  const digest = response.headers.get('docker-content-digest')?.[0] ?? expected;
  const size = Number(response.headers.get('content-length')?.[0]);
  if (digest === undefined || !isDigest(digest) || !Number.isSafeInteger(size) || size <= 0) {
    return undefined;
  }
  if (expected !== undefined && digest !== expected) {
    throw new TsError('FailedPrecondition', `${response.what}: the registry answers for ${digest}`);
  }
  if (size > MAX_DOCUMENT_BYTES) {
    throw new TsError('ResourceExhausted', `${response.what}: a manifest of ${size} bytes`);
  }
  const sizeBytes = size;
  return {
    mediaType: mediaTypeOf(response),
    digest: digest as Digest,
    sizeBytes,
    annotations: new Map(),
  };
}

function mediaTypeOf(response: HttpResponse): string {
  const type = response.headers.get('content-type')?.[0]?.split(';', 1)[0]?.trim() ?? '';
  if (type === MediaType.dockerSchema1) {
    throw new TsError(
      'InvalidArgument',
      `${response.what}: schema 1 image manifests are no longer supported`,
    );
  }
  const kind = mediaKind(type);
  if (kind === 'index' || kind === 'manifest') return type;
  throw new TsError('InvalidArgument', `${response.what}: ${type || 'no media type'} is no image`);
}

/** First byte of a partial answer. */
function rangeStart(response: HttpResponse): number | undefined {
  const range = response.headers.get('content-range')?.[0] ?? '';
  const start = /^bytes ([0-9]{1,15})-/.exec(range)?.[1];
  return start === undefined ? undefined : Number(start);
}
