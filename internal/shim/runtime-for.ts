import { basename, join } from 'node:path';
import type { Options } from '../api/generated/containerd.runc.v1.ts';
import { TsError } from '../errors/index.ts';
import type { ChildRegistry } from './command.ts';
import type { OperationRunner } from './operation-runner.ts';
import type { RuntimeClient } from './runtime-client.ts';
import { DEFAULT_BINARY, DEFAULT_ROOT, type TaskOptions } from './runtime-options.ts';
import { RuntimeProcess } from './runtime-process.ts';

interface ContainerPlace {
  readonly bundle: string;
  readonly namespace: string;
  readonly isDebug: boolean;
}

/** The client of a runtime's program for a container with these options. */
export function programFor(
  options: Options,
  container: ContainerPlace,
  children: ChildRegistry,
): RuntimeProcess {
  return new RuntimeProcess(
    {
      binary: options.binaryName || DEFAULT_BINARY,
      root: stateRoot(options, container),
      bundle: container.bundle,
      hasSystemdCgroup: options.systemdCgroup,
      isDebug: container.isDebug,
    },
    children,
  );
}

/** What would have to wait for others than the kernel. */
export interface Waits {
  /** A create that looks at file systems which may never answer. */
  readonly create: boolean;
  /** Every new process: an agent is told of it, whose socket is on such a file system. */
  readonly agent: boolean;
}

/**
 * The client that the options ask for. InProcess is left to the program where the runtime would have
 * to wait for a file system, and without privileges for the helpers that map ids.
 *
 * Throws InvalidArgument if InProcess is set for another runtime than tsrunc.
 */
export async function runtimeFor(
  options: TaskOptions,
  container: ContainerPlace,
  children: ChildRegistry,
  runner: OperationRunner,
  waits: Waits,
): Promise<RuntimeClient> {
  const program = programFor(options, container, children);
  if (!options.inProcess) return program;
  const name = basename(options.binaryName || DEFAULT_BINARY);
  if (name !== DEFAULT_BINARY) {
    throw new TsError('InvalidArgument', `runtime options: InProcess is not for ${name}`, {
      code: 'TS_RUNTIME_OPTION',
      advice: 'leave InProcess out, or BinaryName',
    });
  }
  if (waits.agent || process.geteuid?.() !== 0) return program;
  const { RuntimeInProcess } = await import('./runtime-in-process.ts');
  const root = stateRoot(options, container);
  const { systemdCgroup } = options;
  const createsByProgram = waits.create;
  return new RuntimeInProcess({ root, systemdCgroup, runner, program, createsByProgram });
}

function stateRoot(options: Options, { namespace }: ContainerPlace): string {
  return join(options.root || DEFAULT_ROOT, namespace);
}
