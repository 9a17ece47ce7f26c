import { TsError } from '../errors/index.ts';
import type { HttpDebug } from './http-debug.ts';
import {
  type Challenge,
  type CredentialSource,
  type Credentials,
  directAuthorization,
  parseChallenges,
  tokenOfAnswer,
  tokenRequest,
} from './registry-auth.ts';
import type { RegistryHost } from './registry-host.ts';
import {
  DEFAULT_TIMEOUTS,
  foreignHeaders,
  HttpClient,
  type HttpRequest,
  type HttpResponse,
  type HttpTimeouts,
  isPassing,
  isWhole,
  readText,
  statusError,
} from './registry-http.ts';
import { RETRY_AFTER_MS, retryAfterMs } from './retry.ts';

const MAX_TOKEN_BYTES = 256 * 1024;

export interface SessionOptions {
  /** What a token must allow: `repository:NAME:pull`. */
  readonly scope: string;
  /** Headers of every request. */
  readonly headers: ReadonlyMap<string, string>;
  readonly credentials: CredentialSource;
  /** The registry that the host stands in for, which tells mirrors of several whose image is meant. */
  readonly mirrorOf?: string | undefined;
  readonly timeouts?: HttpTimeouts | undefined;
  readonly debug?: HttpDebug | undefined;
}

/** Requests to one host of a registry, with its credentials. */
export class RegistrySession {
  readonly host: RegistryHost;
  readonly #client: HttpClient;
  readonly #credentials: CredentialSource;
  readonly #headers: ReadonlyMap<string, string>;
  readonly #scope: string;
  /** Query of each request below the base URL. */
  readonly #query: string;
  #authorization: { value: string; expiresAtMs: number } | undefined;
  /** The host's last challenge: the values of WWW-Authenticate. */
  #challenge: readonly string[] = [];
  /** Whether there was something to give at the last challenge. */
  #hasCredentials = false;
  /** One request for a token, which several downloads wait for. */
  #authorizing: Promise<boolean> | undefined;

  constructor(host: RegistryHost, options: SessionOptions) {
    const { timeouts = DEFAULT_TIMEOUTS, mirrorOf } = options;
    const dialMs = host.dialTimeoutMs ?? timeouts.dialMs;
    this.host = host;
    this.#client = new HttpClient(host.tls, { ...timeouts, dialMs }, process.env, options.debug);
    this.#scope = options.scope;
    this.#headers = options.headers;
    this.#credentials = options.credentials;
    this.#query = mirrorOf === undefined ? '' : `ns=${encodeURIComponent(mirrorOf)}`;
  }

  /**
   * Sends a request below the host's base URL (or to an absolute URL of it); answers a challenge
   * once. Any answer is returned, except one that may be another later: that is Unavailable.
   */
  async send(request: Omit<HttpRequest, 'url'> & { readonly path: string }): Promise<HttpResponse> {
    const { path, ...rest } = request;
    const url = URL.canParse(path) ? path : this.#urlOf(path);
    const canRepeat = isWhole(rest.body);
    if (!canRepeat && this.#isOwn(url)) await this.#renewExpired();
    const sentWith = this.#authorization?.value;
    let response = await this.#sendOnce({ ...rest, url });
    if (response.status === 401 && (await this.#authorize(response, sentWith)) && canRepeat) {
      response.discard();
      response = await this.#sendOnce({ ...rest, url });
    }
    if (response.status === 401 && this.#isOwn(response.url)) {
      return { ...response, credentialsSent: this.#hasCredentials ? 'refused' : 'none' };
    }
    if (!isPassing(response.status)) return response;
    const error = await statusError(response);
    const after = retryAfterMs(response.headers.get('retry-after')?.[0], Date.now());
    if (after === undefined) throw error;
    throw new TsError(error.kind, error.message, {
      fields: { ...error.fields, [RETRY_AFTER_MS]: after },
      ...(error.code === undefined ? {} : { code: error.code }),
      ...(error.advice === undefined ? {} : { advice: error.advice }),
    });
  }

  close(): void {
    this.#client.close();
  }

  async #sendOnce(request: HttpRequest): Promise<HttpResponse> {
    if (!this.#isOwn(request.url)) {
      // A place to upload to may be anywhere: what the host's headers hold is for the host alone.
      return await this.#client.send({ ...request, headers: foreignHeaders(request.headers) });
    }
    const headers = new Map([...this.host.headers, ...this.#headers, ...request.headers]);
    const authorization = this.#authorization;
    const isValid = authorization !== undefined && authorization.expiresAtMs > Date.now();
    if (isValid) headers.set('authorization', authorization.value);
    return await this.#client.send({ ...request, headers });
  }

  #urlOf(path: string): string {
    const mark = path.includes('?') ? '&' : '?';
    return `${this.host.baseUrl}${path}${this.#query === '' ? '' : `${mark}${this.#query}`}`;
  }

  #isOwn(url: string): boolean {
    return new URL(url).origin === new URL(this.host.baseUrl).origin;
  }

  /** Gets a new token before a request that could not be sent again after a challenge. */
  async #renewExpired(): Promise<void> {
    const expiresAtMs = this.#authorization?.expiresAtMs ?? Number.POSITIVE_INFINITY;
    if (expiresAtMs <= Date.now()) await this.#authorizeAlone(this.#challenge);
  }

  /** Gets what the host asks for. False when there is nothing to give, or it was refused. */
  async #authorize(response: HttpResponse, sentWith: string | undefined): Promise<boolean> {
    // A redirect led elsewhere: that host's challenge is none of ours (CVE-2020-15157).
    if (!this.#isOwn(response.url)) return false;
    // Another request was challenged and answered meanwhile.
    if (this.#authorization?.value !== sentWith) return true;
    this.#challenge = response.headers.get('www-authenticate') ?? [];
    return await this.#authorizeAlone(this.#challenge);
  }

  async #authorizeAlone(headers: readonly string[]): Promise<boolean> {
    this.#authorizing ??= this.#authorizeOnce(headers).finally(() => {
      this.#authorizing = undefined;
    });
    return await this.#authorizing;
  }

  async #authorizeOnce(headers: readonly string[]): Promise<boolean> {
    const challenges = parseChallenges(headers);
    const credentials = await this.#credentials(new URL(this.host.baseUrl).host, headers);
    this.#hasCredentials = credentials !== undefined;
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (credentials?.kind === 'header') {
      return this.#remember(credentials.value, Number.POSITIVE_INFINITY);
    }
    if (bearer !== undefined) return await this.#getToken(bearer, credentials);
    const isBasic = challenges.some(({ scheme }) => scheme === 'basic');
    const direct = credentials && directAuthorization(credentials);
    if (!isBasic || direct === undefined) return false;
    return this.#remember(direct, Number.POSITIVE_INFINITY);
  }

  async #getToken(challenge: Challenge, credentials: Credentials | undefined): Promise<boolean> {
    const isPlain = this.host.baseUrl.startsWith('http:');
    const request = tokenRequest(challenge, credentials, this.#scope, isPlain);
    if (request === undefined) return false;
    const response = await this.#client.send(request);
    if (response.status !== 200) {
      const credentialsSent = credentials === undefined ? 'none' : 'refused';
      throw await statusError({ ...response, credentialsSent });
    }
    const answer = tokenOfAnswer((await readText(response, MAX_TOKEN_BYTES)).toString('utf8'));
    if (answer === undefined) {
      throw new TsError('Unauthenticated', `${response.what}: the answer holds no token`);
    }
    return this.#remember(`Bearer ${answer.token}`, Date.now() + answer.expiresInMs);
  }

  #remember(value: string, expiresAtMs: number): boolean {
    const isNew = this.#authorization?.value !== value;
    this.#authorization = { value, expiresAtMs };
    return isNew; // the same again would be refused again
  }
}
