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
import { AccountFiles, idOf, MAX_ID, type ReadImageFile } from '../rootfs/accounts.ts';

type IdentityRequest = Pick<
  LinuxContainerSecurityContext,
  'runAsUser' | 'runAsUsername' | 'runAsGroup' | 'supplementalGroups' | 'supplementalGroupsPolicy'
>;

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
