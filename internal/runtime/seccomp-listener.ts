/** Hands what supervises a seccomp filter to its agent (runtime-spec config-linux.md#seccomp, containerprocessstate). */
import { TsError } from '../errors/index.ts';
import { copyFdOf, deliverFds, type Operation, openPidfd } from '../linux/index.ts';
import { OCI_VERSION, type Seccomp, type State } from '../oci/index.ts';

/** The process that installed the filter, and its container. */
export interface SupervisedProcess {
  readonly pid: number;
  /** Number of the listener's fd in that process. */
  readonly fd: number;
  readonly state: State;
}

/**
 * Sends the listener's fd with the state of the process to `listenerPath`, and waits for an agent that is busy. Throws if
 * nobody listens there: the process would wait for ever at its first call that is notified.
 */
export function* sendListener(
  seccomp: Seccomp,
  { pid, fd, state }: SupervisedProcess,
): Operation<void> {
  const { listenerPath = '', listenerMetadata } = seccomp;
  const message = {
    ociVersion: OCI_VERSION,
    fds: ['seccompFd'],
    pid,
    ...(listenerMetadata === undefined ? {} : { metadata: listenerMetadata }),
    state,
  };
  try {
    using process = openPidfd(pid);
    if (process === undefined) throw new TsError('NotFound', `process ${pid} has ended`);
    using listener = copyFdOf(process, fd);
    yield* deliverFds(listenerPath, Buffer.from(JSON.stringify(message)), [listener.number]);
  } catch (thrown) {
    const error = TsError.from(thrown);
    const place = 'config.json: linux.seccomp.listenerPath';
    throw new TsError(error.kind, `${place}: ${error.message}`, {
      code: 'TS_SECCOMP_LISTENER',
      cause: thrown,
      advice: 'start the agent that listens there before the container',
      fields: { ...error.fields, property: 'linux.seccomp.listenerPath', path: listenerPath },
    });
  }
}
