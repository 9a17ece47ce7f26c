/** `start`: lets the waiting process of a created container execute its program. */
import { closeSync, constants, openSync, readFileSync, unlinkSync, writeSync } from 'node:fs';
import { errnoName, isErrno, TsError } from '../errors/index.ts';
import { lockExclusively } from '../linux/index.ts';
import { parseSpec, type State } from '../oci/index.ts';
import {
  CONFIG_COPY,
  type ContainerState,
  EXEC_FIFO,
  readContainerState,
  START_ERRORS,
} from './container-state.ts';
import { runHooks } from './hooks.ts';
import { inheritedOpenFiles } from './inherited-limits.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { statePath } from './state-directory.ts';
import { containerStatus } from './status.ts';

/**
 * Returns when the program was executed, or has failed to be: then it throws what failed.
 *
 * Throws FailedPrecondition if the container is not in the created state.
 */
export function startContainer(options: RuntimeOptions, id: string): void {
  const state = readContainerState(options.root, id);
  const status = containerStatus(options.root, state);
  if (status === 'stopped') {
    throw notCreated(id, 'cannot start a container that has stopped');
  }
  if (status !== 'created') throw notCreated(id, 'cannot start an already running container');
  const fifo = statePath(options.root, id, EXEC_FIFO);
  wake(id, fifo);
  awaitExecution(options, state);
  unlinkSync(fifo);
  runPoststartHooks(options, state);
}

function notCreated(id: string, problem: string): TsError {
  return new TsError('FailedPrecondition', `${id}: ${problem}`, {
    code: 'TS_CONTAINER_NOT_CREATED',
    fields: { id },
  });
}

function wake(id: string, fifo: string): void {
  let fd: number;
  try {
    // Without a reader, when the process is gone, this fails instead of waiting for one.
    fd = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (thrown) {
    if (isErrno(thrown, 'ENXIO', 'ENOENT')) {
      throw notCreated(id, 'cannot start: container process is already dead');
    }
    throw TsError.from(thrown, `open ${fifo}`);
  }
  try {
    writeSync(fd, '\0');
  } finally {
    closeSync(fd);
  }
}

/** A failing step writes three words: errno, index of the step, a value. */
const REPORT_BYTES = 24;

/**
 * The waiting process holds a lock on the file for its errors, which ends with it or with execve:
 * the file is close-on-exec.
 */
function awaitExecution(options: RuntimeOptions, state: ContainerState): void {
  const path = statePath(options.root, state.id, START_ERRORS);
  const fd = openSync(path, 'r');
  try {
    lockExclusively(fd, path);
    const report = readFileSync(fd);
    if (report.length < REPORT_BYTES) return;
    const errno = errnoName(Number(report.readBigUInt64LE(0)));
    const step = String(report.readBigUInt64LE(8));
    const label = state.startLabels[step] ?? `step ${step}`;
    const kind = errno === 'ENOENT' ? 'NotFound' : 'FailedPrecondition';
    throw new TsError(kind, `${label}: ${errno}`, {
      code: 'TS_START_FAILED',
      fields: { id: state.id, errno },
    });
  } finally {
    closeSync(fd);
  }
}

function runPoststartHooks(options: RuntimeOptions, state: ContainerState): void {
  const path = statePath(options.root, state.id, CONFIG_COPY);
  const text = readFileSync(path);
  if (!text.includes('"poststart"')) return; // spares most containers the parsing
  const { hooks } = parseSpec(text);
  runHooks(hooks?.poststart, 'poststart', hookState(state, 'running'), inheritedOpenFiles());
}

/** What hooks get on their stdin. */
export function hookState(state: ContainerState, status: State['status']): State {
  return {
    ociVersion: state.ociVersion,
    id: state.id,
    status,
    ...(status === 'stopped' ? {} : { pid: state.pid }),
    bundle: state.bundle,
    annotations: state.annotations,
  };
}
