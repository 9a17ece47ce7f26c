import { TsError } from '../errors/index.ts';
import { type LogTarget, parseLogQuery } from './log-uri.ts';

/** Where one of a process's streams leads, as the client of the task API asked for it. */
export type StdioTarget =
  | { readonly kind: 'none' }
  | { readonly kind: 'fifo'; readonly path: string }
  | { readonly kind: 'file'; readonly path: string }
  | LogTarget
  | {
      readonly kind: 'binary';
      readonly path: string;
      readonly args: readonly string[];
      /** `binary-v2://`: ready is one byte on fd 5; otherwise closing fd 5 is enough. */
      readonly wantsReadyByte: boolean;
    };

const NONE: StdioTarget = { kind: 'none' };
const SCHEMES = new Set(['fifo', 'file', 'binary', 'binary-v2', 'cri']);
const SCHEME = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//;

/**
 * Reads a stdio field of Create or Exec: nothing, a path or `fifo://PATH`, `file://PATH`,
 * `binary://PATH?key=value`, whose pairs become the logger's arguments in the order given,
 * `cri://PATH?…` (log-uri.ts).
 *
 * Throws InvalidArgument for another scheme, a relative path or an escape that is not UTF-8.
 */
export function parseStdioUri(uri: string): StdioTarget {
  if (uri === '') return NONE;
  const scheme = SCHEME.exec(uri)?.[1]?.toLowerCase();
  if (scheme === undefined) return { kind: 'fifo', path: absolute(uri, uri) };
  if (!SCHEMES.has(scheme)) {
    throw new TsError('InvalidArgument', `unknown STDIO scheme ${scheme}`, {
      code: 'TS_STDIO_SCHEME',
      advice: 'use a path, fifo://, file://, binary:// or cri://',
    });
  }
  const rest = uri.slice(scheme.length + '://'.length);
  const [encodedPath = '', query = ''] = splitOnce(withoutFragment(rest), '?');
  const path = absolute(decodePath(encodedPath, uri), uri);
  switch (scheme) {
    case 'fifo':
      return { kind: 'fifo', path };
    case 'file':
      return { kind: 'file', path };
    case 'binary':
    case 'binary-v2':
      return {
        kind: 'binary',
        path,
        args: loggerArguments(query),
        wantsReadyByte: scheme === 'binary-v2',
      };
    default:
      return parseLogQuery(path, query, uri);
  }
}

/** Key and value of each pair, one after the other; of a repeated key the first value counts. */
function loggerArguments(query: string): string[] {
  const pairs = new Map<string, string>();
  for (const [key, value] of new URLSearchParams(query)) {
    if (!pairs.has(key)) pairs.set(key, value);
  }
  return [...pairs].flat();
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

const withoutFragment = (text: string): string => splitOnce(text, '#')[0];

function decodePath(text: string, uri: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new TsError('InvalidArgument', `stdio ${uri}: malformed escape`, { cause });
  }
}

function absolute(path: string, uri: string): string {
  if (path.startsWith('/') && !path.includes('\0')) return path;
  throw new TsError('InvalidArgument', `stdio ${uri}: path is not absolute`);
}
