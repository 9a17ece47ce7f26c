import { basename, join } from 'node:path';
import type { Options } from '../api/generated/containerd.runc.v1.ts';
import { TsError } from '../errors/index.ts';
import type { ChildRegistry } from './command.ts';
import type { ExitLedger } from './exit-ledger.ts';
import { OperationRunner } from './operation-runner.ts';
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

/**
 * The client that the options ask for. InProcess is left to the program where the runtime would have
 * to wait for others: for systemd, and without privileges for the helpers that map ids.
 *
 * Throws InvalidArgument if InProcess is set for another runtime than tsrunc.
 */
export async function runtimeFor(
  options: TaskOptions,
  container: ContainerPlace,
  children: ChildRegistry,
  ledger: ExitLedger,
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
  if (options.systemdCgroup || process.geteuid?.() !== 0) return program;
  const { RuntimeInProcess } = await import('./runtime-in-process.ts');
  const runner = new OperationRunner(children, ledger);
  return new RuntimeInProcess(stateRoot(options, container), runner, program);
}

function stateRoot(options: Options, { namespace }: ContainerPlace): string {
  return join(options.root || DEFAULT_ROOT, namespace);
}
