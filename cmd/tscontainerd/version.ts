import { REVISION, VERSION } from '../../internal/server/version.ts';

/** What --version prints. */
export function versionText(): string {
  return `tscontainerd ${VERSION} ${REVISION}`.trimEnd();
}
