/** User namespaces that only carry id mappings, for id-mapped mounts (man 2 mount_setattr). */
import { openSync, writeFileSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { Pipe, SyscallProgram, steps, waitForChild } from '../linux/index.ts';
import type { IdMapping } from '../oci/index.ts';
import { mappingLines } from './id-mappings.ts';

/**
 * The fd of a new user namespace with these mappings, to be closed by the caller. A child holds it
 * while they are written; the fd keeps it after that.
 */
export function openMappedNamespace(
  uids: readonly IdMapping[],
  gids: readonly IdMapping[],
  property: string,
): number {
  using hold = new Pipe();
  using report = new Pipe();
  const program = new SyscallProgram();
  const pid = program.main.clone(
    steps.cloneProcess({ namespaces: ['user'] }),
    { reportTo: report.writeEnd.number, as: 'holder' },
    (child) => {
      child.add(steps.setParentDeathSignal('SIGKILL'));
      child.add(steps.close(hold.writeEnd.number));
      child.add(steps.waitForBytes(hold.readEnd.number), { retryOn: 'EINTR' });
    },
  );
  using run = program.run();
  const holder = run.value(pid);
  try {
    write(`/proc/${holder}/uid_map`, mappingLines(uids), `${property}.uidMappings`);
    write(`/proc/${holder}/gid_map`, mappingLines(gids), `${property}.gidMappings`);
    return openSync(`/proc/${holder}/ns/user`, 'r');
  } finally {
    hold.writeEnd.close();
    waitForChild(holder);
  }
}

function write(path: string, text: string, property: string): void {
  try {
    writeFileSync(path, text);
  } catch (thrown) {
    throw TsError.from(thrown, `config.json: ${property}: write ${path}`);
  }
}
