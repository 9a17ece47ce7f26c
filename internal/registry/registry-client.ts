/** Images of one repository in a registry (distribution-spec), over the hosts that may have them. */
import { createHash } from 'node:crypto';
import { TsError } from '../errors/index.ts';
import type { Descriptor, Digest } from '../oci/index.ts';
import { isDigest, MAX_DOCUMENT_BYTES, MediaType, mediaKind, parseDigest } from '../oci/index.ts';
import { dockerConfigSource } from './docker-config.ts';
import { formatReference, parseReference, type Reference } from './reference.ts';
import { type CredentialSource, firstCredentials } from './registry-auth.ts';
import { apiHost, type Capability } from './registry-host.ts';
import { type HostOptions, registryHosts } from './registry-hosts.ts';
import { type HttpResponse, type HttpTimeouts, readText, statusError } from './registry-http.ts';
import { RegistrySession } from './registry-session.ts';
import { credentialsOfSettings, NO_SETTINGS } from './registry-settings.ts';
import { DEFAULT_RETRY, type RetryPolicy, retrying } from './retry.ts';

export interface RegistryOptions extends HostOptions {
  /** Full reference: `docker.io/library/busybox:latest`. */
  readonly reference: string;
  /** The credentials of the request itself: they come before those of the configuration. */
  readonly credentials: CredentialSource;
  /** Headers for each request. */
  readonly headers: ReadonlyMap<string, string>;
  readonly retry?: RetryPolicy;
  readonly timeouts?: HttpTimeouts;
  /** A config.json of Docker, for registries that the request has no credentials for; '' for none. */
  readonly dockerConfigPath?: string;
}

/** Bytes of a blob from some offset on. */
export interface BlobBody {
  readonly body: AsyncIterable<Buffer>;
  /** Where the body begins: the offset asked for, or 0 when the host does not know ranges. */
  readonly offsetBytes: number;
  /** Whether the host knows ranges: then it sent the one that was asked for, and no more. */
  readonly isPartial: boolean;
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
  /** How often a host was of no use in the course of this work. */
  readonly #failures = new Map<RegistrySession, number>();

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
    const { headers, timeouts, settings = NO_SETTINGS, dockerConfigPath = '' } = options;
    const credentials = firstCredentials(
      options.credentials,
      async (host) => credentialsOfSettings(host, settings),
      ...(dockerConfigPath === '' ? [] : [dockerConfigSource(dockerConfigPath)]),
    );
    const own = apiHost(reference.host);
    const sessions = hosts.map((host) => {
      const isMirror = new URL(host.baseUrl).host !== own;
      const mirrorOf = isMirror ? reference.host : undefined;
      return new RegistrySession(host, { scope, headers, credentials, mirrorOf, timeouts });
    });
    return new RegistryClient(reference, sessions, options.retry ?? DEFAULT_RETRY);
  }

  /** The reference as it was asked for. */
  get name(): string {
    return formatReference(this.reference);
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

  /**
   * Opens a blob or document from `offset` on, `length` bytes of it or all that follow; asks each
   * host once, since the caller retries.
   */
  async open(
    descriptor: Descriptor,
    offset: number,
    signal?: AbortSignal,
    length?: number,
  ): Promise<BlobBody> {
    const kind = mediaKind(descriptor.mediaType);
    const isDocument = kind === 'index' || kind === 'manifest';
    const folder = isDocument ? 'manifests' : 'blobs';
    const path = `/${this.reference.repository}/${folder}/${descriptor.digest}`;
    const headers = new Map([['accept', isDocument ? `${descriptor.mediaType}, */*` : '*/*']]);
    const last = length === undefined ? '' : offset + length - 1;
    if (offset > 0 || length !== undefined) headers.set('range', `bytes=${offset}-${last}`);
    return await this.#tryHosts(
      'pull',
      async (session) => {
        const response = await session.send({ method: 'GET', path, headers, signal });
        const body = this.#watched(session, response.body);
        const discard = (): void => response.discard();
        if (response.status === 206 && rangeStart(response) === offset) {
          return { body, offsetBytes: offset, isPartial: true, discard };
        }
        if (response.status === 200) return { body, offsetBytes: 0, isPartial: false, discard };
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

  /** Notes a host that breaks off in the middle: the next attempt begins with another. */
  async *#watched(session: RegistrySession, body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    try {
      yield* body;
    } catch (error) {
      this.#noteFailure(session, error);
      throw error;
    }
  }

  #noteFailure(session: RegistrySession, error: unknown): void {
    if (!(error instanceof TsError) || error.kind !== 'Unavailable') return;
    this.#failures.set(session, (this.#failures.get(session) ?? 0) + 1);
  }

  /**
   * Tries the hosts in order, those that have let us down after the others. The error of the one that
   * is configured last is the error of all, since that is the registry itself.
   */
  async #tryHosts<T>(
    capability: Capability,
    work: (session: RegistrySession) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const able = this.#sessions.filter(({ host }) => host.capabilities.has(capability));
    const failures = (session: RegistrySession): number => this.#failures.get(session) ?? 0;
    const errors = new Map<RegistrySession, TsError>();
    for (const session of able.toSorted((a, b) => failures(a) - failures(b))) {
      try {
        return await work(session);
      } catch (error) {
        if (signal?.aborted === true) throw error;
        this.#noteFailure(session, error);
        errors.set(session, TsError.from(error));
      }
    }
    const [last, ...others] = able.map((session) => errors.get(session)).reverse();
    if (last === undefined) {
      throw new TsError('FailedPrecondition', `${this.reference.host}: no host may ${capability}`, {
        advice: `add "${capability}" to the capabilities of a host in hosts.toml`,
      });
    }
    // For the log: which mirrors were tried before, and why not.
    last.cleanup.push(...others.reverse().filter((error) => error !== undefined));
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
