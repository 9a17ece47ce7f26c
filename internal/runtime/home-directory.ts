import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { entry } from '../linux/index.ts';
import type { Process } from '../oci/index.ts';

/** More of a passwd file is not read: an image may bring one of any size (CVE-2026-47262). */
const GREATEST_PASSWD_BYTES = 1024 * 1024;

/**
 * The process with HOME in its environment, as runc and crun set it where the configuration does
 * not: the user's directory of the container's /etc/passwd, else `/`.
 */
export function withHome(process: Process, root: string): Process {
  const env = process.env ?? [];
  if (env.some((each) => each.startsWith('HOME='))) return process;
  const home = findHome(readPasswd(root), process.user.uid) ?? '/';
  return { ...process, env: [...env, `HOME=${home}`] };
}

/** The sixth field of the user's line (man 5 passwd). */
export function findHome(passwd: string, uid: number): string | undefined {
  for (const line of passwd.split('\n')) {
    const [, , id, , , home] = line.split(':');
    if (id === String(uid) && home !== undefined && home !== '') return home;
  }
  return undefined;
}

/** Inside the root whatever its symlinks say; a fifo or device there is nothing to read. */
function readPasswd(root: string): string {
  const directory = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
    const fd = entry.openInRoot(directory, '/etc/passwd', flags);
    if (fd < 0) return '';
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile()) return '';
      const buffer = Buffer.alloc(Math.min(stat.size, GREATEST_PASSWD_BYTES));
      return buffer.toString('utf8', 0, readSync(fd, buffer, 0, buffer.length, 0));
    } finally {
      closeSync(fd);
    }
  } finally {
    closeSync(directory);
  }
}
