/** User namespaces that only carry id mappings, for id-mapped mounts (man 2 mount_setattr). */
import { TsError } from '../errors/index.ts';
import { openUserNamespace } from '../linux/index.ts';
import type { IdMapping } from '../oci/index.ts';
import { mappingLines } from './id-mappings.ts';

/** The fd of a new user namespace with these mappings, to be closed by the caller. The error names the property. */
export function openMappedNamespace(
  uids: readonly IdMapping[],
  gids: readonly IdMapping[],
  property: string,
): number {
  try {
    return openUserNamespace({ uids: mappingLines(uids), gids: mappingLines(gids) }).release();
  } catch (thrown) {
    throw TsError.from(thrown).within(`config.json: ${property}: id mappings`);
  }
}
