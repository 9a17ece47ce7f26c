/**
 * Who the process of a container is: ids from CRI's security context, from the image's USER, and names
 * looked up in the image's own /etc/passwd and /etc/group.
 *
 * The attacks: numbers that do not fit 32 bits and wrap to root (CVE-2024-40635), names made of digits
 * (CVE-2026-46680), files too large to read (CVE-2026-47262), a group list that is not the pod's
 * (CVE-2023-25173).
 */
import {
  type LinuxContainerSecurityContext,
  SupplementalGroupsPolicy,
} from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import type { User } from '../oci/index.ts';

/** (1 << 31) - 1: what Kubernetes and Docker take as an id. */
const MAX_ID = 0x7fffffff;

/** Reads a text file of the image; undefined when it is not there. */
export type ReadImageFile = (path: string) => string | undefined;

type IdentityRequest = Pick<
  LinuxContainerSecurityContext,
  'runAsUser' | 'runAsUsername' | 'runAsGroup' | 'supplementalGroups' | 'supplementalGroupsPolicy'
>;

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** A user as the OCI has it, and where it is at home. */
export interface Identity {
  readonly user: User;
  /** Of the passwd entry, or ''. */
  readonly home: string;
}

/**
 * The identity of a container. `request` wins over `imageUser` (`USER[:GROUP]`, names or numbers).
 * Throws InvalidArgument for a name that the image does not have and a number that is none.
 */
export function resolveIdentity(
  request: IdentityRequest,
  imageUser: string,
  read: ReadImageFile,
): Identity {
  const files = new AccountFiles(read);
  const { text, groupText } = requestedUser(request, imageUser);
  const entry = text === '' ? files.userById(0) : files.user(text);
  const uid = text === '' ? 0 : (entry?.uid ?? idOf('user', text));
  const gid = groupText === '' ? (entry?.gid ?? 0) : files.group(groupText);
  const groups = new Set<number>([gid]);
  if (request.supplementalGroupsPolicy !== SupplementalGroupsPolicy.Strict && entry !== undefined) {
    for (const id of files.groupsOf(entry.name)) groups.add(id);
  }
  for (const id of request.supplementalGroups) {
    groups.add(checkId('supplemental_groups', id));
  }
  return { user: { uid, gid, additionalGids: [...groups] }, home: entry?.home ?? '' };
}

function requestedUser(
  request: IdentityRequest,
  imageUser: string,
): { text: string; groupText: string } {
  const group = request.runAsGroup?.value;
  const groupOf = (fallback: string): string =>
    group === undefined ? fallback : String(checkId('run_as_group', group));
  if (request.runAsUser !== undefined) {
    const text = String(checkId('run_as_user', request.runAsUser.value));
    return { text, groupText: groupOf('') };
  }
  if (request.runAsUsername !== '') {
    return { text: request.runAsUsername, groupText: groupOf('') };
  }
  if (group !== undefined && imageUser === '') {
    throw new TsError('InvalidArgument', 'run_as_group without run_as_user or run_as_username');
  }
  const [text = '', imageGroup = ''] = imageUser.split(':', 2);
  return { text, groupText: groupOf(imageGroup) };
}

function checkId(field: string, id: bigint): number {
  if (id >= 0n && id <= BigInt(MAX_ID)) return Number(id);
  throw new TsError('InvalidArgument', `${field}: ${id} is not from 0 to ${MAX_ID}`);
}

/** A decimal number without sign, spaces or leading zeros, as an id; undefined for what is no number. */
function parseId(text: string): number | undefined {
  if (!/^(0|[1-9][0-9]{0,9})$/.test(text)) return undefined;
  const id = Number(text);
  return id <= MAX_ID ? id : undefined;
}

function idOf(what: 'user' | 'group', text: string): number {
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
class AccountFiles {
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

  userById(uid: number): PasswdEntry | undefined {
    return this.#users().find((entry) => entry.uid === uid);
  }

  group(text: string): number {
    const byNumber = parseId(text);
    if (byNumber !== undefined) return byNumber;
    const line = this.#groups().find(([name]) => name === text);
    return parseId(line?.[2] ?? '') ?? idOf('group', text);
  }

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
