import { TsError } from '../errors/index.ts';
import {
  type Challenge,
  type CredentialSource,
  type Credentials,
  directAuthorization,
  parseChallenges,
  tokenOfAnswer,
  tokenRequest,
} from './registry-auth.ts';
import type { RegistryHost } from './registry-hosts.ts';
import {
  foreignHeaders,
  HttpClient,
  type HttpRequest,
  type HttpResponse,
  isPassing,
  readText,
  statusError,
} from './registry-http.ts';
import { RETRY_AFTER_MS, retryAfterMs } from './retry.ts';

const MAX_TOKEN_BYTES = 256 * 1024;

/** Requests to one host of a registry, with its credentials. */
export class RegistrySession {
  readonly host: RegistryHost;
  readonly #client: HttpClient;
  readonly #credentials: CredentialSource;
  readonly #headers: ReadonlyMap<string, string>;
  /** What a token must allow: `repository:NAME:pull`. */
  readonly #scope: string;
  #authorization: { value: string; expiresAtMs: number } | undefined;
  /** The host's last challenge: the values of WWW-Authenticate. */
  #challenge: readonly string[] = [];
  /** One request for a token, which several downloads wait for. */
  #authorizing: Promise<boolean> | undefined;

  constructor(
    host: RegistryHost,
    scope: string,
    headers: ReadonlyMap<string, string>,
    credentials: CredentialSource,
  ) {
    this.host = host;
    this.#client = new HttpClient(host.tls);
    this.#scope = scope;
    this.#headers = headers;
    this.#credentials = credentials;
  }

  /**
   * Sends a request below the host's base URL (or to an absolute URL of it); answers a challenge
   * once. Any answer is returned, except one that may be another later: that is Unavailable.
   */
  async send(request: Omit<HttpRequest, 'url'> & { readonly path: string }): Promise<HttpResponse> {
    const { path, ...rest } = request;
    const url = URL.canParse(path) ? path : `${this.host.baseUrl}${path}`;
    const canRepeat = rest.body === undefined || typeof rest.body === 'string';
    if (!canRepeat && this.#isOwn(url)) await this.#renewExpired();
    let response = await this.#sendOnce({ ...rest, url });
    if (response.status === 401 && (await this.#authorize(response)) && canRepeat) {
      response.discard();
      response = await this.#sendOnce({ ...rest, url });
    }
    if (!isPassing(response.status)) return response;
    const error = await statusError(response);
    const after = retryAfterMs(response.headers.get('retry-after')?.[0], Date.now());
    if (after === undefined) throw error;
    throw new TsError(error.kind, error.message, {
      fields: { ...error.fields, [RETRY_AFTER_MS]: after },
      ...(error.code === undefined ? {} : { code: error.code }),
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

  #isOwn(url: string): boolean {
    return new URL(url).origin === new URL(this.host.baseUrl).origin;
  }

  /** Gets a new token before a request that could not be sent again after a challenge. */
  async #renewExpired(): Promise<void> {
    const expiresAtMs = this.#authorization?.expiresAtMs ?? Number.POSITIVE_INFINITY;
    if (expiresAtMs <= Date.now()) await this.#authorizeAlone(this.#challenge);
  }

  /** Gets what the host asks for. False when there is nothing to give, or it was refused. */
  async #authorize(response: HttpResponse): Promise<boolean> {
    // A redirect led elsewhere: that host's challenge is none of ours (CVE-2020-15157).
    if (!this.#isOwn(response.url)) return false;
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
    if (response.status !== 200) throw await statusError(response);
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
