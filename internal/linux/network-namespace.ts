import { closeSync, constants, existsSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { TsError } from '../errors/index.ts';
import { mount, unmountAll } from './mount.ts';
import { Pipe } from './pipe.ts';
import { SyscallProgram } from './program/index.ts';
import * as steps from './steps/index.ts';
import { waitForChild } from './wait.ts';

/**
 * Makes a network namespace that lives without a process, as `ip netns add` does: bound to the file
 * `path`, which must not exist. Its `lo` is up. Nothing is left when it cannot be made.
 *
 * A child makes it and binds it, since a thread of Node's must not change its own namespace.
 */
export function createNetworkNamespace(path: string): void {
  bindAt(path, bindNewNamespace);
}

/**
 * Binds the network namespace of a process to the file `path`, which must not exist: for one that belongs to the user
 * namespace of that process, which nobody outside could make.
 */
export function bindNetworkNamespace(path: string, pid: number): void {
  bindAt(path, () => mount({ source: `/proc/${pid}/ns/net`, target: path, flags: ['MS_BIND'] }));
}

function bindAt(path: string, bind: (path: string) => void): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    closeSync(openSync(path, constants.O_RDONLY | constants.O_CREAT | constants.O_EXCL, 0o444));
  } catch (thrown) {
    throw TsError.from(thrown, `make network namespace ${path}`);
  }
  try {
    bind(path);
  } catch (thrown) {
    removeNetworkNamespace(path);
    throw TsError.from(thrown, `make network namespace ${path}`);
  }
}

function bindNewNamespace(path: string): void {
  using reports = new Pipe();
  const reportTo = reports.writeEnd.number;
  const program = new SyscallProgram();
  const clone = steps.cloneProcess({ namespaces: ['network'] });
  const child = program.main.clone(clone, { reportTo, as: 'netns' }, (sequence) => {
    steps.bringInterfaceUp(sequence, 'lo');
    sequence.add(steps.mount({ source: '/proc/self/ns/net', target: path, flags: ['MS_BIND'] }));
  });
  using run = program.run();
  reports.writeEnd.close();
  let exitCode: number | undefined;
  try {
    program.readReport(reports.readEnd.number); // throws the child's error
  } finally {
    exitCode = waitForChild(run.value(child))?.exitCode;
  }
  if (exitCode !== 0) throw new TsError('Unknown', `child ended with exit code ${exitCode}`);
}

/** Unbinds and removes the file of a network namespace; one that is not there is success. */
export function removeNetworkNamespace(path: string): void {
  if (!existsSync(path)) return;
  unmountAll(path);
  rmSync(path, { force: true });
}
