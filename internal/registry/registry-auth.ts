/** Authentication to registries by challenge (RFC 7235, RFC 6750; distribution spec auth/token). */

/** What a client knows for a host. */
export type Credentials =
  | { readonly kind: 'password'; readonly username: string; readonly secret: string }
  /** An OAuth2 refresh token ("identity token"). */
  | { readonly kind: 'refresh-token'; readonly token: string }
  /** A whole Authorization header. */
  | { readonly kind: 'header'; readonly value: string };

/** Asks the client for credentials, with the challenges of the host; undefined for none. */
export type CredentialSource = (
  host: string,
  challenges: readonly string[],
) => Promise<Credentials | undefined>;

/** Asks the sources in order; the first that has something is taken. */
export function firstCredentials(...sources: readonly CredentialSource[]): CredentialSource {
  return async (host, challenges) => {
    for (const source of sources) {
      const found = await source(host, challenges);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  readonly scheme: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/**
 * Parses WWW-Authenticate: schemes with comma-separated parameters, several in one header or in
 * several ones. What is not understood is left out.
 */
export function parseChallenges(headers: readonly string[]): Challenge[] {
  const challenges: Challenge[] = [];
  for (const header of headers) {
    const token =
      /\s*,?\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?/y;
    let current: { scheme: string; parameters: Map<string, string> } | undefined;
    for (let match = token.exec(header); match !== null; match = token.exec(header)) {
      const [, name = '', quoted, bare] = match;
      const value = quoted?.replace(/\\(.)/g, '$1') ?? bare;
      if (value === undefined) {
        current = { scheme: name.toLowerCase(), parameters: new Map() };
        challenges.push(current);
      } else current?.parameters.set(name.toLowerCase(), value);
    }
  }
  return challenges;
}

/** How to ask for a token. */
export interface TokenRequest {
  readonly url: string;
  readonly method: 'GET' | 'POST';
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string | undefined;
}

/**
 * The request for a bearer token. `fallbackScope` is asked for when the challenge names no scope.
 * Undefined when the realm is no URL, or one that credentials must not be sent to.
 */
export function tokenRequest(
  challenge: Challenge,
  credentials: Credentials | undefined,
  fallbackScope: string,
  isPlainHttp: boolean,
): TokenRequest | undefined {
  const realm = challenge.parameters.get('realm') ?? '';
  if (!URL.canParse(realm)) return undefined;
  const url = new URL(realm);
  const isSafe = url.protocol === 'https:' || (url.protocol === 'http:' && isPlainHttp);
  // Over plain HTTP anyone could be the realm: a registry that is not plain itself must not say so.
  if (!isSafe) return undefined;
  const service = challenge.parameters.get('service') ?? '';
  const scope = challenge.parameters.get('scope') ?? fallbackScope;
  if (credentials?.kind === 'refresh-token') {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      service,
      client_id: 'tscontainerd',
      scope,
      refresh_token: credentials.token,
    });
    const type = 'application/x-www-form-urlencoded';
    return {
      url: url.href,
      method: 'POST',
      headers: new Map([['content-type', type]]),
      body: form.toString(),
    };
  }
  if (service !== '') url.searchParams.set('service', service);
  for (const one of scope.split(' ')) if (one !== '') url.searchParams.append('scope', one);
  const headers = new Map<string, string>();
  const authorization = credentials === undefined ? undefined : directAuthorization(credentials);
  if (authorization !== undefined) headers.set('authorization', authorization);
  return { url: url.href, method: 'GET', headers, body: undefined };
}

/** The Authorization header for credentials that need no token. */
export function directAuthorization(credentials: Credentials): string | undefined {
  switch (credentials.kind) {
    case 'password': {
      const pair = `${credentials.username}:${credentials.secret}`;
      return `Basic ${Buffer.from(pair).toString('base64')}`;
    }
    case 'header':
      return credentials.value;
    case 'refresh-token':
      return undefined;
  }
}

/** The token of a token server's answer. */
export function tokenOfAnswer(body: string): { token: string; expiresInMs: number } | undefined {
  try {
    const { token, access_token, expires_in } = JSON.parse(body) as Record<string, unknown>;
    const text = typeof token === 'string' && token !== '' ? token : access_token;
    if (typeof text !== 'string' || text === '') return undefined;
    const seconds = typeof expires_in === 'number' && expires_in >= 60 ? expires_in : 60;
    return { token: text, expiresInMs: seconds * 1000 };
  } catch {
    return undefined; // the caller says which server answered what
  }
}
