/** Images of one repository in a registry (distribution-spec), over the hosts that may have them. */
import { createHash } from 'node:crypto';
import { TsError } from '../errors/index.ts';
import type { Descriptor, Digest } from '../oci/index.ts';
import { isDigest, MAX_DOCUMENT_BYTES, MediaType, mediaKind, parseDigest } from '../oci/index.ts';
import { dockerConfigSource } from './docker-config.ts';
import type { HttpDebug } from './http-debug.ts';
import { formatReference, parseReference, type Reference } from './reference.ts';
import { type CredentialSource, firstCredentials } from './registry-auth.ts';
import { apiHost, type Capability, NO_TLS } from './registry-host.ts';
import { type HostOptions, registryHosts } from './registry-hosts.ts';
import {
  HttpClient,
  type HttpResponse,
  type HttpTimeouts,
  readText,
  statusError,
} from './registry-http.ts';
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
  /** Who wants to hear of each request. */
  readonly debug?: HttpDebug | undefined;
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
  /** For hosts that are none of the registry's. */
  readonly #elsewhere: HttpClient;
  readonly #retry: RetryPolicy;
  /** How often a host was of no use in the course of this work. */
  readonly #failures = new Map<RegistrySession, number>();

  private constructor(
    reference: Reference,
    sessions: readonly RegistrySession[],
    elsewhere: HttpClient,
    retry: RetryPolicy,
  ) {
    this.#elsewhere = elsewhere;
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
    const { headers, timeouts, debug, settings = NO_SETTINGS, dockerConfigPath = '' } = options;
    const credentials = firstCredentials(
      options.credentials,
      async (host) => credentialsOfSettings(host, settings),
      ...(dockerConfigPath === '' ? [] : [dockerConfigSource(dockerConfigPath)]),
    );
    const own = apiHost(reference.host);
    const sessions = hosts.map((host) => {
      const isMirror = new URL(host.baseUrl).host !== own;
      const mirrorOf = isMirror ? reference.host : undefined;
      return new RegistrySession(host, { scope, headers, credentials, mirrorOf, timeouts, debug });
    });
    const elsewhere = new HttpClient(NO_TLS, timeouts, process.env, debug);
    return new RegistryClient(reference, sessions, elsewhere, options.retry ?? DEFAULT_RETRY);
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
   * host once, since the caller retries. What the registry lacks is looked for where the descriptor's
   * `urls` say.
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
    const ask = async (session: RegistrySession): Promise<BlobBody> => {
      const response = await session.send({ method: 'GET', path, headers, signal });
      return await blobBody(response, this.#watched(session, response.body), offset);
    };
    try {
      return await this.#tryHosts('pull', ask, signal);
    } catch (thrown) {
      const { urls = [] } = descriptor;
      const error = TsError.from(thrown);
      if (error.kind !== 'NotFound' || urls.length === 0) throw error;
      return await this.#openElsewhere(urls, headers, offset, error, signal);
    }
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
    this.#elsewhere.close();
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

  /**
   * Asks the places that a descriptor names, in order. They are foreign: nothing that is meant for the registry goes there, not its
   * credentials, headers or client certificate (CVE-2020-15157). The caller checks what comes by its digest.
   */
  async #openElsewhere(
    urls: readonly string[],
    headers: ReadonlyMap<string, string>,
    offset: number,
    notFound: TsError,
    signal: AbortSignal | undefined,
  ): Promise<BlobBody> {
    const errors: TsError[] = [];
    for (const url of urls) {
      try {
        if (!/^https?:/.test(url)) throw new TsError('InvalidArgument', `urls: no HTTP: ${url}`);
        const response = await this.#elsewhere.send({ method: 'GET', url, headers, signal });
        return await blobBody(response, response.body, offset);
      } catch (thrown) {
        if (signal?.aborted === true) throw thrown;
        errors.push(TsError.from(thrown));
      }
    }
    notFound.cleanup.push(...errors);
    // What may be there later is asked for again.
    throw errors.find(({ kind }) => kind === 'Unavailable') ?? notFound;
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

/** The body of an answer to a request for the bytes from `offset` on. */
async function blobBody(
  response: HttpResponse,
  body: AsyncIterable<Buffer>,
  offset: number,
): Promise<BlobBody> {
  const discard = (): void => response.discard();
  if (response.status === 206 && rangeStart(response) === offset) {
    return { body, offsetBytes: offset, isPartial: true, discard };
  }
  if (response.status === 200) return { body, offsetBytes: 0, isPartial: false, discard };
  throw await statusError(response);
}

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
