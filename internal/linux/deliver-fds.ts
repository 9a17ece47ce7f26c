import { writeSync } from 'node:fs';
import { isErrno } from '../errors/index.ts';
import { type Operation, pause } from './operation.ts';
import { connectUnixNow, sendFds } from './unix-socket.ts';

/** How long until a listener that was busy is asked again: the kernel does not tell when it has room. */
const BUSY_MS = 10;

/**
 * Connects to `path` and sends data with descriptors (SCM_RIGHTS). Waits, without blocking this thread, for as long as the
 * listener accepts nobody or does not read. Throws if nobody listens, or the connection is closed meanwhile.
 */
export function* deliverFds(
  path: string,
  data: Uint8Array,
  fds: readonly number[],
): Operation<void> {
  let socket = connectUnixNow(path);
  while (socket === undefined) {
    yield* pause(BUSY_MS);
    socket = connectUnixNow(path);
  }
  using connection = socket;
  // The queue of a new connection is empty: it takes the descriptors, if not all of the data.
  let sent = sendFds(connection.number, data, fds);
  while (sent < data.length) {
    const rest = data.subarray(sent);
    try {
      sent += writeSync(connection.number, rest);
    } catch (thrown) {
      if (!isErrno(thrown, 'EAGAIN')) throw thrown;
      yield* pause(BUSY_MS);
    }
  }
}
