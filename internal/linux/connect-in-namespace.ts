import { closeSync, openSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import type { OwnedFd } from './fd.ts';
import { Pipe } from './pipe.ts';
import { SyscallProgram } from './program/index.ts';
import { socketPair } from './socket-pair.ts';
import * as steps from './steps/index.ts';
import { receiveFds } from './unix-socket.ts';
import { waitForChild } from './wait.ts';

/** This process waits for the child meanwhile. */
const CONNECT_TIMEOUT_MS = 200;

/**
 * Connects to a TCP port on the loopback address of another network namespace (a file of /proc/PID/ns or one that it is
 * bound to), by 127.0.0.1 and then ::1, and returns the socket.
 *
 * A socket belongs to the namespace in which it was made: a child goes there, makes it and hands it back. On the loopback
 * address the kernel itself answers, at once; only a server that lets connections pile up unaccepted makes it wait.
 *
 * Throws Unavailable when nobody listens.
 */
export function connectInNamespace(namespace: string, port: number): OwnedFd {
  let failure: unknown;
  for (const domain of ['AF_INET', 'AF_INET6'] as const) {
    try {
      return connect(namespace, domain, port);
    } catch (thrown) {
      failure ??= thrown; // what the first address says is what a person tries first
    }
  }
  const error = TsError.from(failure);
  throw new TsError('Unavailable', error.message, { cause: failure, fields: error.fields });
}

function connect(namespace: string, domain: 'AF_INET' | 'AF_INET6', port: number): OwnedFd {
  const namespaceFd = openSync(namespace, 'r');
  const [ours, theirs] = socketPair();
  try {
    using reports = new Pipe();
    const reportTo = reports.writeEnd.number;
    const program = new SyscallProgram();
    const message = new steps.FdMessage();
    const child = program.main.clone(
      steps.cloneProcess({}),
      { reportTo, as: 'connect' },
      (sequence) => {
        sequence.add(steps.joinNamespace(namespaceFd, 'network'), { label: `join ${namespace}` });
        const socket = sequence.add(steps.createSocket(domain, 'SOCK_STREAM'), {
          as: 'socket',
          into: message.fd,
        });
        sequence.add(steps.limitSending(socket, CONNECT_TIMEOUT_MS));
        sequence.add(steps.connectLoopback(socket, domain, port));
        sequence.add(message.send(theirs.number, 's'));
      },
    );
    using run = program.run();
    reports.writeEnd.close();
    try {
      program.readReport(reports.readEnd.number); // throws the child's error
    } finally {
      waitForChild(run.value(child));
    }
    const [socket, ...more] = receiveFds(ours.number, 1).fds;
    if (socket !== undefined && more.length === 0) return socket;
    throw new TsError('Internal', 'internal error: the child sent no socket');
  } finally {
    ours.close();
    theirs.close();
    closeSync(namespaceFd);
  }
}
