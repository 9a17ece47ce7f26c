/** What a request gives away that no answer, log or error may repeat. */

/** Shorter ones are parts of common words, and hide nothing. */
const MIN_SECRET_LENGTH = 4;
const SHOWN = '…';

/**
 * The secrets of a request: values of its Authorization (RFC 7617: the pair and the password, too) and of headers that
 * the configuration adds (`isHarmless` tells which are not such), and tokens in the form of a body (RFC 6749, section 6).
 */
export function secretsOf(
  headers: ReadonlyMap<string, string>,
  body: unknown,
  isHarmless: (header: string) => boolean,
): string[] {
  const found: string[] = [];
  for (const [name, value] of headers) {
    if (isHarmless(name.toLowerCase())) continue;
    found.push(value);
    const [, scheme = '', token = ''] = /^(\S+) +(\S+)$/.exec(value) ?? [];
    found.push(token);
    if (scheme.toLowerCase() !== 'basic') continue;
    const pair = Buffer.from(token, 'base64').toString('utf8');
    found.push(pair, pair.slice(pair.indexOf(':') + 1));
  }
  if (typeof body === 'string') found.push(new URLSearchParams(body).get('refresh_token') ?? '');
  return found
    .filter(({ length }) => length >= MIN_SECRET_LENGTH)
    .sort((a, b) => b.length - a.length); // the whole before its parts
}

/** A foreign text without these secrets, in one line. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  let shown = text;
  for (const secret of secrets) shown = shown.replaceAll(secret, SHOWN);
  return shown.replace(/\p{Cc}+/gu, ' ');
}
