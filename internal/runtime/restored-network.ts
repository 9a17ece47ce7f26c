import { closeSync, openSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { Pipe, SyscallProgram, steps, waitForChild } from '../linux/index.ts';

/**
 * Brings `lo` up in a process's network namespace, which CRIU makes anew and empty: sockets on the
 * loopback address are restored next.
 */
export function bringLoopbackUp(pid: number): void {
  const path = `/proc/${pid}/ns/net`;
  const namespace = openSync(path, 'r');
  try {
    const program = new SyscallProgram();
    using report = new Pipe();
    const reportTo = report.writeEnd.number;
    const child = program.main.clone(steps.cloneProcess({}), { reportTo, as: 'lo' }, (sequence) => {
      sequence.add(steps.joinNamespace(namespace, 'network'), { label: `join ${path}` });
      steps.bringInterfaceUp(sequence, 'lo');
    });
    using run = program.run();
    report.writeEnd.close();
    try {
      program.readReport(report.readEnd.number);
    } finally {
      waitForChild(run.value(child));
    }
  } catch (thrown) {
    throw TsError.from(thrown, 'bring lo up');
  } finally {
    closeSync(namespace);
  }
}
