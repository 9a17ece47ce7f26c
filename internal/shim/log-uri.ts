/**
 * `cri://PATH?…`: a log file that the shim itself writes, in the words of a stdio field.
 *
 * | key | value | default |
 * | --- | --- | --- |
 * | `stream` | `stdout` or `stderr`: the name in each line | the field's |
 * | `format` | `cri`, or `json` for the lines of Docker's json-file | `cri` |
 * | `max-line` | most bytes of content in a line; 0 for as many as a shim may hold | 16384 |
 * | `last` | tag of an output that ends without a newline: `P`, as the kubelet wants it to show the output as it was, or `F`, for readers that wait for the rest of every `P` | `P` |
 * | `tag` | further tag, behind `P` or `F`; repeatable; `cri` only | |
 * | `label` | `KEY=VALUE` in `attrs` of each line; repeatable; `json` only | |
 * | `tee` | FIFO that gets the bare output too, as long as somebody reads it; repeatable | |
 *
 * Both streams of a process may name the same path: they share the file.
 */
import { TsError } from '../errors/index.ts';

export type StreamName = 'stdout' | 'stderr';

export interface LogTarget {
  readonly kind: 'log';
  readonly path: string;
  /** What the lines say; undefined for the name of the field that the address was in. */
  readonly stream: StreamName | undefined;
  readonly format: 'cri' | 'json';
  readonly maxLineBytes: number;
  readonly lastTag: 'P' | 'F';
  readonly tags: readonly string[];
  readonly labels: ReadonlyMap<string, string>;
  readonly tees: readonly string[];
}

/** What a kubelet expects of a runtime (containerd's max_container_log_line_size). */
export const DEFAULT_MAX_LINE_BYTES = 16 << 10;
/** "No limit" is this one: a container that never ends its line must not fill the memory. */
export const GREATEST_MAX_LINE_BYTES = 4 << 20;
/** A line's head must not be longer than its content. */
const LEAST_MAX_LINE_BYTES = 16;

/** Reads the query of a `cri://` address. Throws InvalidArgument on a key or value it does not know. */
export function parseLogQuery(path: string, query: string, uri: string): LogTarget {
  const given = new URLSearchParams(query);
  const tags: string[] = [];
  const labels = new Map<string, string>();
  const tees: string[] = [];
  let stream: StreamName | undefined;
  let format: LogTarget['format'] = 'cri';
  let maxLineBytes = DEFAULT_MAX_LINE_BYTES;
  let lastTag: LogTarget['lastTag'] = 'P';
  for (const [key, value] of given) {
    const refuse = (): never => {
      throw new TsError('InvalidArgument', `stdio ${uri}: ${key} ${JSON.stringify(value)}`, {
        code: 'TS_STDIO_LOG',
        advice: ADVICE[key] ?? `use the keys ${Object.keys(ADVICE).join(', ')}`,
      });
    };
    switch (key) {
      case 'stream':
        stream = value === 'stdout' || value === 'stderr' ? value : refuse();
        break;
      case 'format':
        format = value === 'cri' || value === 'json' ? value : refuse();
        break;
      case 'max-line':
        maxLineBytes = lineLimit(value) ?? refuse();
        break;
      case 'last':
        lastTag = value === 'P' || value === 'F' ? value : refuse();
        break;
      case 'tag':
        tags.push(/^[\x21-\x39\x3b-\x7e]+$/.test(value) ? value : refuse());
        break;
      case 'label': {
        const at = value.indexOf('=');
        if (at <= 0) refuse();
        labels.set(value.slice(0, at), value.slice(at + 1));
        break;
      }
      case 'tee':
        tees.push(value.startsWith('/') && !value.includes('\0') ? value : refuse());
        break;
      default:
        refuse();
    }
  }
  return { kind: 'log', path, stream, format, maxLineBytes, lastTag, tags, labels, tees };
}

const ADVICE: Readonly<Record<string, string>> = {
  stream: 'use stdout or stderr',
  format: 'use cri or json',
  'max-line': `use 0, or ${LEAST_MAX_LINE_BYTES} to ${GREATEST_MAX_LINE_BYTES}`,
  last: 'use P or F',
  tag: 'use printable ASCII without a colon or space',
  label: 'use KEY=VALUE',
  tee: 'use an absolute path',
};

function lineLimit(text: string): number | undefined {
  if (!/^\d{1,9}$/.test(text)) return undefined;
  const bytes = Number(text);
  if (bytes === 0) return GREATEST_MAX_LINE_BYTES;
  return bytes >= LEAST_MAX_LINE_BYTES && bytes <= GREATEST_MAX_LINE_BYTES ? bytes : undefined;
}
