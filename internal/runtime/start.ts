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
import { describeStatus, runHooks } from './hooks.ts';
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

/** Three words: errno (0 for an announcement, which has a hook's wait status), step, value. */
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
    const failure = findFailure(readFileSync(fd));
    if (failure === undefined) return;
    const { errno, step, hookStatus } = failure;
    const label = state.startLabels[step] ?? `step ${step}`;
    const how = hookStatus === undefined ? `: ${errno}` : `: ${describeStatus(hookStatus)}`;
    throw new TsError(errno === 'ENOENT' ? 'NotFound' : 'FailedPrecondition', `${label}${how}`, {
      code: 'TS_START_FAILED',
      fields: { id: state.id, errno },
    });
  } finally {
    closeSync(fd);
  }
}

interface StartFailure {
  readonly errno: string;
  readonly step: string;
  /** Wait status of the hook that was the failure. */
  readonly hookStatus: number | undefined;
}

/** The first message that is no announcement. */
function findFailure(reports: Buffer): StartFailure | undefined {
  let status = 0;
  for (let at = 0; at + REPORT_BYTES <= reports.length; at += REPORT_BYTES) {
    const errno = Number(reports.readBigUInt64LE(at));
    if (errno === 0) {
      status = Number(reports.readBigInt64LE(at + 16));
      continue;
    }
    const step = String(reports.readBigUInt64LE(at + 8));
    return { errno: errnoName(errno), step, hookStatus: status === 0 ? undefined : status };
  }
  return undefined;
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
