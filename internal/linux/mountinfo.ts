import { readFileSync } from 'node:fs';
import { TsError } from '../errors/index.ts';

/** A line of /proc/PID/mountinfo (man 5 proc_pid_mountinfo). */
export interface MountInfo {
  readonly id: number;
  readonly parentId: number;
  readonly major: number;
  readonly minor: number;
  /** The directory of the file system that is the root of this mount. */
  readonly root: string;
  readonly mountPoint: string;
  readonly options: readonly string[];
  /** Peer groups and propagation: `shared:1`, `master:2`, `propagate_from:3`, `unbindable`. */
  readonly optionalFields: readonly string[];
  readonly type: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

/** The mounts that a process sees, in the kernel's order. */
export function readMountInfo(pid: number | 'self' = 'self'): MountInfo[] {
  const path = `/proc/${pid}/mountinfo`;
  try {
    return parseMountInfo(readFileSync(path, 'utf8'));
  } catch (thrown) {
    throw TsError.from(thrown, `read ${path}`);
  }
}

/** The lines of a mountinfo file. Throws Internal if one has an unknown form. */
export function parseMountInfo(text: string): MountInfo[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map(parseLine);
}

function parseLine(line: string): MountInfo {
  const fields = line.split(' ');
  const separator = fields.indexOf('-', 6);
  const [id, parentId, device, root, mountPoint, options] = fields;
  const [type, source, superOptions] = fields.slice(separator + 1);
  const match = /^(\d+):(\d+)$/.exec(device ?? '');
  if (
    separator < 0 ||
    match === null ||
    root === undefined ||
    mountPoint === undefined ||
    options === undefined ||
    type === undefined ||
    source === undefined
  ) {
    throw new TsError('Internal', `parse mountinfo: unknown form of line ${JSON.stringify(line)}`);
  }
  return {
    id: Number(id),
    parentId: Number(parentId),
    major: Number(match[1]),
    minor: Number(match[2]),
    root: decodeOctal(root),
    mountPoint: decodeOctal(mountPoint),
    options: options.split(','),
    optionalFields: fields.slice(6, separator),
    type: decodeOctal(type),
    source: decodeOctal(source),
    superOptions: superOptions === undefined || superOptions === '' ? [] : superOptions.split(','),
  };
}

/** Space, tab, newline, backslash and `#` are written as three octal digits. */
function decodeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
