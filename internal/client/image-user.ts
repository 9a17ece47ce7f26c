import type { User } from '../oci/index.ts';
import { AccountFiles, idOf, type ReadImageFile } from '../rootfs/accounts.ts';

/**
 * The ids of `NAME|UID[:GROUP|GID]` by the accounts of the root file system. Without a group it is the one of the account,
 * with the others that have it as a member. Throws InvalidArgument for names that are not there.
 */
export function resolveUser(text: string, read: ReadImageFile): User {
  const files = new AccountFiles(read);
  const [name = '', group] = text.split(':', 2);
  const entry = files.user(name);
  const uid = entry?.uid ?? idOf('user', name);
  if (group !== undefined && group !== '') {
    const gid = files.group(group);
    return { uid, gid, additionalGids: [gid] };
  }
  const gid = entry?.gid ?? 0;
  const more = entry === undefined ? [] : files.groupsOf(entry.name);
  return { uid, gid, additionalGids: [...new Set([gid, ...more])] };
}
