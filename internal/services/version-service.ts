import { Version } from '../api/generated/containerd.services.version.v1.ts';
import { type GrpcService, grpcService } from './context.ts';

/** The version service: what `ctr version` shows as the server's. */
export function versionService(version: string, revision: string): GrpcService {
  return grpcService(Version, {
    version: async () => ({ version, revision }),
  });
}
