import { readlinkSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import type { Process } from '../oci/index.ts';
import { programEnvironment } from './environment.ts';

const FIRST = 3;

/** What Node itself opens first at start-up; it takes the lowest numbers that are free. */
const NODE_OWN = new Set(['anon_inode:[eventpoll]', 'anon_inode:[io_uring]']);

/**
 * How many fds from 3 on the container gets: those of socket activation, then `--preserve-fds`.
 *
 * Throws InvalidArgument if the caller did not pass that many. A number that the caller left free
 * holds one of Node's own fds, which must never get into a container (runc 1.3 hands on what it has
 * there of its own: the file of its log, open for writing).
 */
export function countPreservedFds(preserve: number, listenFds: number): number {
  const count = preserve + listenFds;
  for (let fd = FIRST; fd < FIRST + count; fd++) {
    const target = linkOf(fd);
    if (target !== undefined && !NODE_OWN.has(target)) continue;
    const position = `fd ${fd} (${fd - FIRST + 1} of ${count})`;
    throw new TsError('InvalidArgument', `unable to stat preserved ${position}: EBADF`, {
      code: 'TS_PRESERVED_FD_MISSING',
      advice: `open fds ${FIRST} to ${FIRST + count - 1} before calling`,
    });
  }
  return count;
}

function linkOf(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined; // not open
  }
}

/** The number of sockets of systemd's activation protocol (man 3 sd_listen_fds); 0 for none. */
export function listenFdCount(env: Readonly<Record<string, string | undefined>>): number {
  const text = env['LISTEN_FDS'] ?? '';
  return /^[0-9]{1,4}$/.test(text) ? Number(text) : 0;
}

/** The process with the environment that tells it of the sockets, which are its fds from 3 on. */
export function withListenFds(process: Process, count: number): Process {
  if (count === 0) return process;
  const env = [...(process.env ?? []), `LISTEN_FDS=${count}`, 'LISTEN_PID=1'];
  return { ...process, env: programEnvironment(env) };
}
