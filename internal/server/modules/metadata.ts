import { versionService } from '../../services/version-service.ts';
import type { Core } from '../core.ts';
import type { DaemonModule } from '../module.ts';
import { REVISION, VERSION } from '../version.ts';

/** Namespaces, containers, content, images, leases, events and what is said about the daemon. */
export function openMetadata(_core: Core): DaemonModule {
  return { plugins: [], services: [versionService(VERSION, REVISION)] };
}
