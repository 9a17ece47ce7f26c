/**
 * HTTP as registries need it: redirects that keep credentials at home, deadlines for every wait,
 * errors that name the request.
 *
 * The attack (CVE-2020-15157): a manifest or a redirect names a foreign host, which asks for
 * credentials and gets those of the registry. Credentials may be in any header (Cookie, X-Api-Key):
 * a request to another origin has the few headers that say what is asked for, and no others.
 */
import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http';
import type { Agent as HttpsAgent } from 'node:https';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { TsError } from '../errors/index.ts';
import { type HttpDebug, requestHead, responseHead, traceRequest } from './http-debug.ts';
import {
  type CredentialsSent,
  connectionAdvice,
  isLasting,
  statusAdvice,
} from './registry-advice.ts';
import { isLoopback, type RegistryTls } from './registry-host.ts';
import { secretsOf, withoutSecrets } from './registry-secrets.ts';
import { LASTING } from './retry.ts';

export interface HttpTimeouts {
  /** Longest wait for a connection. */
  readonly dialMs: number;
  /** Longest wait for a connection and for the head of an answer. */
  readonly headMs: number;
  /** In each stretch of this length a body must bring `minBytes`, or all that is left of it. */
  readonly stallMs: number;
  readonly minBytes: number;
}

/**
 * A slow line is no reason to give up, one on which nothing moves is: what trickles in by less than
 * a packet in half a minute is better asked of another host.
 */
export const DEFAULT_TIMEOUTS: HttpTimeouts = {
  dialMs: 30_000,
  headMs: 30_000,
  stallMs: 30_000,
  minBytes: 1024,
};

/** How long a connection that nobody uses is kept. */
const IDLE_TIMEOUT_MS = 30_000;
const MAX_REDIRECTS = 10;
/** Largest body that is read as an error's text. */
const MAX_ERROR_BYTES = 64 * 1024;
/** So much of a registry's words is in an error. */
const MAX_REASON_LENGTH = 200;

export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array> | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface HttpResponse {
  readonly status: number;
  /** Method and URL as an error should show them: no credentials, no query. */
  readonly what: string;
  /** URL after redirects. */
  readonly url: string;
  readonly headers: ReadonlyMap<string, readonly string[]>;
  /** Of a 401: whether there were credentials to send. */
  readonly credentialsSent?: CredentialsSent;
  /** What the request gave away: no error repeats it. */
  readonly secrets?: readonly string[];
  /** The body; a pause that is too long, or an early end, breaks it off with Unavailable. */
  readonly body: AsyncIterable<Buffer>;
  /** Closes the connection without reading the rest. */
  discard(): void;
}

/** Headers that any origin may see. */
const HARMLESS_HEADERS: ReadonlySet<string> = new Set([
  'accept',
  'content-length',
  'content-type',
  'range',
  'user-agent',
]);

/** The headers of a request that leaves the origin that they were made for. */
export function foreignHeaders(headers: ReadonlyMap<string, string>): Map<string, string> {
  return new Map([...headers].filter(([name]) => HARMLESS_HEADERS.has(name.toLowerCase())));
}

/** Authorities of Node and of this machine; it takes a while to read them. */
let knownAuthorities: readonly string[] | undefined;
/** What connections without settings of their own share, for the same reason. */
let plainContext: SecureContext | undefined;

function secureContext(tls: RegistryTls): SecureContext {
  knownAuthorities ??= [
    ...new Set([...getCACertificates('default'), ...getCACertificates('system')]),
  ];
  if (tls.ca.length === 0 && tls.client === undefined) {
    plainContext ??= createSecureContext({ ca: [...knownAuthorities] });
    return plainContext;
  }
  return createSecureContext({
    ca: [...knownAuthorities, ...tls.ca],
    ...(tls.client === undefined ? {} : { cert: tls.client.cert, key: tls.client.key }),
  });
}

/** Connections that are kept, for both schemes; `proxyEnv` has HTTP_PROXY and the like. */
class Agents {
  readonly #http: HttpAgent;
  readonly #makeHttps: () => HttpsAgent;
  #https: HttpsAgent | undefined;

  constructor(tls: RegistryTls, proxyEnv: NodeJS.ProcessEnv | undefined) {
    const shared = {
      keepAlive: true,
      timeout: IDLE_TIMEOUT_MS,
      ...(proxyEnv === undefined ? {} : { proxyEnv }),
    };
    this.#http = new HttpAgent(shared);
    this.#makeHttps = () =>
      new (https().Agent)({
        ...shared,
        rejectUnauthorized: !tls.isUnverified,
        secureContext: secureContext(tls),
      });
  }

  of(url: URL): HttpAgent {
    if (url.protocol !== 'https:') return this.#http;
    this.#https ??= this.#makeHttps();
    return this.#https;
  }

  destroy(): void {
    this.#http.destroy();
    this.#https?.destroy();
  }
}

/** Not imported: a daemon loads it at its first request over TLS, not when it starts. */
function https(): typeof import('node:https') {
  return process.getBuiltinModule('node:https');
}

/** Sends requests to hosts with one TLS configuration; keeps connections. */
export class HttpClient {
  readonly #proxied: Agents;
  readonly #direct: Agents;

  readonly #timeouts: HttpTimeouts;
  readonly #debug: HttpDebug | undefined;

  /** `proxyEnv` has HTTP_PROXY, HTTPS_PROXY and NO_PROXY, also in lower case. `debug` is told of each request. */
  constructor(
    tls: RegistryTls,
    timeouts: HttpTimeouts = DEFAULT_TIMEOUTS,
    proxyEnv: NodeJS.ProcessEnv = process.env,
    debug?: HttpDebug,
  ) {
    this.#debug = debug;
    this.#proxied = new Agents(tls, proxyEnv);
    this.#direct = new Agents(tls, undefined);
    this.#timeouts = timeouts;
  }

  /** Sends a request and follows redirects of GET and HEAD. Throws Unavailable without an answer. */
  async send(request: HttpRequest): Promise<HttpResponse> {
    const first = new URL(request.url);
    let url = first;
    for (let redirects = 0; ; redirects++) {
      const isHome = url.origin === first.origin;
      const headers = isHome ? request.headers : foreignHeaders(request.headers);
      const response = await this.#sendOnce({ ...request, headers }, url);
      const location = response.headers.get('location')?.[0];
      const isFollowed = request.method === 'GET' || request.method === 'HEAD';
      if (![301, 302, 303, 307, 308].includes(response.status) || !location || !isFollowed) {
        return response;
      }
      response.discard();
      if (redirects === MAX_REDIRECTS) {
        throw new TsError('Unavailable', `${response.what}: more than ${MAX_REDIRECTS} redirects`);
      }
      if (!URL.canParse(location, url)) {
        throw new TsError('Unavailable', `${response.what}: redirect to no URL`);
      }
      url = new URL(location, url);
      if (url.protocol !== 'http:' && url.protocol !== 'https:') {
        throw new TsError('Unavailable', `${response.what}: redirect to ${url.protocol}`);
      }
    }
  }

  /** Closes idle connections. */
  close(): void {
    this.#proxied.destroy();
    this.#direct.destroy();
  }

  async #sendOnce(request: HttpRequest, url: URL): Promise<HttpResponse> {
    const what = `${request.method} ${url.origin}${url.pathname}`;
    const message = await this.#start(request, url, what);
    const headers = new Map<string, readonly string[]>();
    for (const [name, values] of Object.entries(message.headersDistinct)) {
      if (values !== undefined) headers.set(name, values);
    }
    return {
      status: message.statusCode ?? 0,
      what,
      secrets: secretsOf(request.headers, request.body, (name) => HARMLESS_HEADERS.has(name)),
      url: url.href,
      headers,
      body: readBody(message, what, url, this.#timeouts),
      discard: () => message.destroy(),
    };
  }

  #start(request: HttpRequest, url: URL, what: string): Promise<IncomingMessage> {
    const { method, headers, body, signal } = request;
    const isHttps = url.protocol === 'https:';
    const sent = { 'user-agent': 'tscontainerd', ...Object.fromEntries(headers) };
    const options = {
      method,
      headers: sent,
      // A proxy knows another machine by the name of localhost: it is never asked, as in Go.
      agent: (isLoopback(url.hostname) ? this.#direct : this.#proxied).of(url),
      ...(signal === undefined ? {} : { signal }),
    };
    return new Promise((resolve, reject) => {
      const outgoing = isHttps ? https().request(url, options) : httpRequest(url, options);
      if (this.#debug !== undefined) tellOf(this.#debug, outgoing, url, method, sent, what);
      const fail = (error: Error): void => reject(connectionError(what, url, error));
      const { headMs, dialMs } = this.#timeouts;
      const timer = setTimeout(() => {
        outgoing.destroy(new Error(`no answer for ${headMs / 1000} s`));
      }, headMs);
      const dialTimer = setTimeout(() => {
        const text = `no connection within ${dialMs / 1000} s`;
        outgoing.destroy(Object.assign(new Error(text), { code: 'ETIMEDOUT' }));
      }, dialMs);
      outgoing.once('socket', (socket) => {
        if (socket.connecting) socket.once('connect', () => clearTimeout(dialTimer));
        else clearTimeout(dialTimer);
      });
      outgoing.once('close', () => {
        clearTimeout(timer);
        clearTimeout(dialTimer);
      });
      outgoing.once('error', fail);
      outgoing.once('response', (message) => {
        clearTimeout(timer);
        resolve(message);
      });
      if (isWhole(body)) outgoing.end(body);
      else void sendBody(outgoing, body, timer);
    });
  }
}

function tellOf(
  { dumps, traces, say }: HttpDebug,
  outgoing: ClientRequest,
  url: URL,
  method: string,
  headers: Readonly<Record<string, string>>,
  what: string,
): void {
  if (dumps) {
    for (const line of requestHead(method, url, headers, (name) => HARMLESS_HEADERS.has(name))) {
      say(line);
    }
    outgoing.once('response', (message) => {
      for (const line of responseHead(message)) say(line);
    });
  }
  if (traces) traceRequest(outgoing, what, say);
}

/** Whether a body is in memory, so that it can be sent again. */
export function isWhole(body: HttpRequest['body']): body is string | Uint8Array | undefined {
  return body === undefined || typeof body === 'string' || body instanceof Uint8Array;
}

/** Sends a body as it comes; the wait for an answer begins anew with each piece. */
async function sendBody(
  outgoing: ClientRequest,
  body: AsyncIterable<Uint8Array>,
  timer: NodeJS.Timeout,
): Promise<void> {
  try {
    for await (const chunk of body) {
      timer.refresh();
      if (outgoing.destroyed) return;
      if (outgoing.write(chunk)) continue;
      await new Promise<void>((resolve) => {
        outgoing.once('drain', resolve);
        outgoing.once('close', resolve);
      });
    }
    outgoing.end();
  } catch (error) {
    outgoing.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}

async function* readBody(
  message: IncomingMessage,
  what: string,
  url: URL,
  { stallMs, minBytes }: HttpTimeouts,
): AsyncGenerator<Buffer> {
  let received = 0;
  // Only while the reader waits: one that is busy writing to a slow disk has not been let down.
  let isWaiting = true;
  const timer = setInterval(() => {
    if (isWaiting && received < minBytes) {
      const how = received === 0 ? 'nothing' : `only ${received} bytes`;
      message.destroy(new Error(`${how} received for ${stallMs / 1000} s`));
    }
    received = 0;
  }, stallMs);
  try {
    for await (const chunk of message) {
      received += (chunk as Buffer).length;
      isWaiting = false;
      yield chunk as Buffer;
      isWaiting = true;
    }
  } catch (error) {
    throw connectionError(what, url, error);
  } finally {
    clearInterval(timer);
    message.destroy();
  }
}

/** Reads a small body; one that is larger than `limitBytes` is ResourceExhausted. */
export async function readText(response: HttpResponse, limitBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.length;
    if (size > limitBytes) {
      response.discard();
      throw new TsError(
        'ResourceExhausted',
        `${response.what}: the answer has more than ${limitBytes} bytes`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function connectionError(what: string, url: URL, error: unknown): TsError {
  if (error instanceof TsError) return error;
  if (error instanceof Error && error.name === 'AbortError') return TsError.from(error);
  const failure = innermost(error) as NodeJS.ErrnoException;
  const { message, code = '' } = failure;
  const isCut = code === 'ECONNRESET' || message === 'aborted';
  const why = isCut ? 'the connection was cut' : reasonOf(message, code);
  const advice = connectionAdvice(code, url);
  return new TsError('Unavailable', `${what}: ${why}`, {
    code: 'TS_REGISTRY_UNREACHABLE',
    cause: error,
    ...(isLasting(code) ? { fields: { [LASTING]: true } } : {}),
    ...(advice === undefined ? {} : { advice }),
  });
}

/** Of a name with several addresses each has its own error: the first is as good as any. */
function innermost(error: unknown): unknown {
  const isSeveral = error instanceof AggregateError && error.errors.length > 0;
  return isSeveral ? (error.errors as unknown[])[0] : error;
}

/** One line: messages of OpenSSL have its source files in them, and a line's end. */
function reasonOf(message: string, code: string): string {
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_')) {
    const [, reason = 'protocol error'] = /:SSL routines:[^:]*:([^:]+):/.exec(message) ?? [];
    return `TLS: ${reason}`;
  }
  // Node's own advice is for programs of Node, and its list of names may be empty.
  return message.replace(/^connect /, '').replace(/; if the root CA .*$|[: ]+$/, '');
}

/** The error for an answer that is not what was asked for; reads its body for the reason. */
export async function statusError(response: HttpResponse): Promise<TsError> {
  const { status, what } = response;
  const kinds = { 401: 'Unauthenticated', 403: 'PermissionDenied', 404: 'NotFound' } as const;
  const kind =
    kinds[status as keyof typeof kinds] ?? (isPassing(status) ? 'Unavailable' : 'Unknown');
  const reason = await errorReason(response);
  const name = STATUS_NAMES.get(status);
  const shown = name === undefined ? `${status}` : `${status} ${name}`;
  // A registry that says what is bad has understood the request.
  const isExplained = status === 400 && reason !== '';
  const advice = isExplained
    ? undefined
    : statusAdvice(status, new URL(response.url), response.credentialsSent);
  return new TsError(kind, `${what}: ${shown}${reason === '' ? '' : `: ${reason}`}`, {
    code: 'TS_REGISTRY_STATUS',
    fields: { status },
    ...(advice === undefined ? {} : { advice }),
  });
}

const STATUS_NAMES: ReadonlyMap<number, string> = new Map([
  [400, 'Bad Request'],
  [401, 'Unauthorized'],
  [403, 'Forbidden'],
  [404, 'Not Found'],
  [405, 'Method Not Allowed'],
  [416, 'Range Not Satisfiable'],
  [429, 'Too Many Requests'],
  [500, 'Internal Server Error'],
  [502, 'Bad Gateway'],
  [503, 'Service Unavailable'],
  [504, 'Gateway Timeout'],
]);

/** Whether the same request may succeed later. */
export function isPassing(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** What the registry says in its error document (distribution-spec, "Error Codes"). */
async function errorReason(response: HttpResponse): Promise<string> {
  try {
    const text = (await readText(response, MAX_ERROR_BYTES)).toString('utf8');
    const { errors } = JSON.parse(text) as { errors?: unknown };
    const [first] = Array.isArray(errors) ? (errors as Record<string, unknown>[]) : [];
    const message = first?.['message'] ?? first?.['code'];
    if (typeof message !== 'string') return '';
    return withoutSecrets(message, response.secrets ?? []).slice(0, MAX_REASON_LENGTH);
  } catch {
    return ''; // no document: the status says it all
  }
}
