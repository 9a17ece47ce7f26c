import { closeSync, openSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { type Operation, runInChild, steps } from '../linux/index.ts';

/**
 * Brings `lo` up in a process's network namespace, which CRIU makes anew and empty: sockets on the
 * loopback address are restored next.
 */
export function* bringLoopbackUp(pid: number): Operation<void> {
  const path = `/proc/${pid}/ns/net`;
  const namespace = openSync(path, 'r');
  try {
    yield* runInChild('lo', (child) => {
      child.add(steps.joinNamespace(namespace, 'network'), { label: `join ${path}` });
      steps.bringInterfaceUp(child, 'lo');
    });
  } catch (thrown) {
    throw TsError.from(thrown, 'bring lo up');
  } finally {
    closeSync(namespace);
  }
}
