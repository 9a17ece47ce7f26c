/**
 * Who the accounts of an image are: names looked up in its own /etc/passwd and /etc/group.
 *
 * The attacks: numbers that do not fit 32 bits and wrap to root (CVE-2024-40635), names made of digits
 * (CVE-2026-46680), files too large to read (CVE-2026-47262).
 */
import { TsError } from '../errors/index.ts';

/** (1 << 31) - 1: what Kubernetes and Docker take as an id. */
export const MAX_ID = 0x7fffffff;

/** Reads a text file of the image; undefined when it is not there. */
export type ReadImageFile = (path: string) => string | undefined;

/** A line of /etc/passwd. */
export interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** A decimal number without sign, spaces or leading zeros, as an id; undefined for what is no number. */
function parseId(text: string): number | undefined {
  if (!/^(0|[1-9][0-9]{0,9})$/.test(text)) return undefined;
  const id = Number(text);
  return id <= MAX_ID ? id : undefined;
}

/** An id from a number. Throws InvalidArgument for a name, which the image does not have. */
export function idOf(what: 'user' | 'group', text: string): number {
  const id = parseId(text);
  if (id !== undefined) return id;
  const isNumber = /^[+-]?[0-9]+$/.test(text);
  throw new TsError(
    'InvalidArgument',
    isNumber
      ? `${what} ${JSON.stringify(text)}: not an id from 0 to ${MAX_ID}`
      : `${what} ${JSON.stringify(text)}: no such ${what} in the image`,
  );
}

/** /etc/passwd and /etc/group of an image, read when first asked. */
export class AccountFiles {
  readonly #read: ReadImageFile;
  #passwd: PasswdEntry[] | undefined;
  #groupLines: string[][] | undefined;

  constructor(read: ReadImageFile) {
    this.#read = read;
  }

  /** By name first, since a name may look like a number; then by number. */
  user(text: string): PasswdEntry | undefined {
    const byName = this.#users().find(({ name }) => name === text);
    if (byName !== undefined && parseId(text) === undefined) return byName;
    return this.userById(idOf('user', text));
  }

  /** By number. */
  userById(uid: number): PasswdEntry | undefined {
    return this.#users().find((entry) => entry.uid === uid);
  }

  /** A group's number, by name or number. */
  group(text: string): number {
    const byNumber = parseId(text);
    if (byNumber !== undefined) return byNumber;
    const line = this.#groups().find(([name]) => name === text);
    return parseId(line?.[2] ?? '') ?? idOf('group', text);
  }

  /** The groups that have a user among their members. */
  groupsOf(user: string): number[] {
    return this.#groups()
      .filter(([, , , members = '']) => members.split(',').includes(user))
      .map(([, , id = '']) => parseId(id))
      .filter((id) => id !== undefined);
  }

  #users(): PasswdEntry[] {
    this.#passwd ??= linesOf(this.#read('/etc/passwd')).flatMap(
      ([name = '', , uid = '', gid = '', , home = '']) => {
        const ids = [parseId(uid), parseId(gid)] as const;
        if (ids[0] === undefined || ids[1] === undefined) return [];
        return [{ name, uid: ids[0], gid: ids[1], home }];
      },
    );
    return this.#passwd;
  }

  #groups(): string[][] {
    this.#groupLines ??= linesOf(this.#read('/etc/group'));
    return this.#groupLines;
  }
}

function linesOf(text = ''): string[][] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));
}
