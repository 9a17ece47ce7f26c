import { join } from 'node:path';
import type { Options } from '../api/generated/containerd.runc.v1.ts';
import type { ChildRegistry } from './command.ts';
import { DEFAULT_BINARY, DEFAULT_ROOT } from './runtime-options.ts';
import { RuntimeProcess } from './runtime-process.ts';

/** The client of a runtime for a container with these options. */
export function runtimeFor(
  options: Options,
  container: { bundle: string; namespace: string; isDebug: boolean },
  children: ChildRegistry,
): RuntimeProcess {
  return new RuntimeProcess(
    {
      binary: options.binaryName || DEFAULT_BINARY,
      root: join(options.root || DEFAULT_ROOT, container.namespace),
      bundle: container.bundle,
      hasSystemdCgroup: options.systemdCgroup,
      isDebug: container.isDebug,
    },
    children,
  );
}
