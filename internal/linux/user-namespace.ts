import { openSync, writeFileSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { OwnedFd } from './fd.ts';
import { Pipe } from './pipe.ts';
import { SyscallProgram } from './program/index.ts';
import * as steps from './steps/index.ts';
import { waitForChild } from './wait.ts';

/** Contents of /proc/PID/uid_map and gid_map: lines of first id inside, first id outside, count (man 7 user_namespaces). */
export interface IdMaps {
  readonly uids: string;
  readonly gids: string;
}

/**
 * A new user namespace that only carries id mappings, for id-mapped mounts (man 2 mount_setattr). A child holds it
 * while they are written; the fd keeps it after that. The error names the map that the kernel refused.
 */
export function openUserNamespace({ uids, gids }: IdMaps): OwnedFd {
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
    write(`/proc/${holder}/uid_map`, uids);
    write(`/proc/${holder}/gid_map`, gids);
    return new OwnedFd(openSync(`/proc/${holder}/ns/user`, 'r'));
  } finally {
    hold.writeEnd.close();
    waitForChild(holder);
  }
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (thrown) {
    throw TsError.from(thrown, `write ${JSON.stringify(text.trimEnd())} to ${path}`);
  }
}
