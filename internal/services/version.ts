import type { Version } from '../api/generated/containerd.services.version.v1.ts';
import type { ServiceHandlers } from '../api/service.ts';
import type { GrpcContext } from './context.ts';

/** What `ctr version` shows as the server's. */
export function versionService(
  version: string,
  revision: string,
): ServiceHandlers<typeof Version, GrpcContext> {
  return { version: async () => ({ version, revision }) };
}
