/** `start`: lets the waiting process of a created container execute its program. */
import {
  closeSync,
  constants,
  openSync,
  readFileSync,
  readSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { errnoName, isErrno, TsError } from '../errors/index.ts';
import { ANNOUNCED_BYTES, type Operation, readable, readNow, settled } from '../linux/index.ts';
import {
  CONFIG_COPY,
  type ContainerState,
  EXEC_FIFO,
  readContainerState,
  START_ERRORS,
} from './container-state.ts';
import { explainExecFailure, PROGRAM_HEAD } from './exec-failure.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { statePath } from './state-directory.ts';
import { containerStatus } from './status.ts';
import { denyingModules } from './unsupported.ts';
import { describeStatus } from './wait-status.ts';

/**
 * Returns when the program was executed, or has failed to be: then it throws what failed. `mayBlock`: nothing else is to be
 * done meanwhile, not even for signals; the calling process then needs no system call of ours, which would take 2 of the 16 ms
 * of a `start` to load.
 *
 * Throws FailedPrecondition if the container is not in the created state.
 */
export function* startContainer(
  options: RuntimeOptions,
  id: string,
  mayBlock = false,
): Operation<void> {
  const state = readContainerState(options.root, id);
  const status = containerStatus(options.root, state);
  if (status === 'stopped') {
    throw notCreated(id, 'cannot start a container that has stopped');
  }
  if (status === 'paused') throw notCreated(id, 'cannot start a container in the paused state');
  if (status !== 'created') throw notCreated(id, 'cannot start an already running container');
  const fifo = statePath(options.root, id, EXEC_FIFO);
  const reports = yield* wakeAndFollow(options.root, id, fifo, mayBlock);
  throwFailure(state, reports);
  unlinkSync(fifo);
  yield* runPoststartHooks(options, state);
}

/**
 * Wakes the waiting process and reads what it reports until it has executed its program or has
 * ended: until then it holds the fifo open, which is close-on-exec.
 */
function* wakeAndFollow(
  root: string,
  id: string,
  fifo: string,
  mayBlock: boolean,
): Operation<Buffer> {
  // A reader before there is anything to read: the fifo forgets what was written with the last one
  // that has it open.
  const path = statePath(root, id, START_ERRORS);
  const fd = openReports(path, mayBlock);
  try {
    wake(id, fifo);
    const chunks: Buffer[] = [];
    for (;;) {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      const bytes = mayBlock ? readSync(fd, chunk) : yield* readWhenThere(fd, chunk, path);
      if (bytes === 0) return Buffer.concat(chunks);
      chunks.push(chunk.subarray(0, bytes));
    }
  } finally {
    closeSync(fd);
  }
}

/** Does not wait for a writer: the one that may block later is opened while this process is one. */
function openReports(path: string, mayBlock: boolean): number {
  if (!mayBlock) return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const both = openSync(path, constants.O_RDWR);
  try {
    return openSync(path, constants.O_RDONLY);
  } finally {
    closeSync(both);
  }
}

function* readWhenThere(fd: number, chunk: Buffer, path: string): Operation<number> {
  for (;;) {
    const read = readNow(fd, chunk);
    if ('errno' in read) throw TsError.ofErrno(read.errno, `read ${path}`);
    if ('bytes' in read) return read.bytes;
    yield* readable(fd);
  }
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
const CHUNK_BYTES = 100 * REPORT_BYTES;

function throwFailure(state: ContainerState, reports: Buffer): void {
  const failure = findFailure(state, reports);
  if (failure === undefined) return;
  const { errno, step, hookStatus, head } = failure;
  const label = state.startLabels[step] ?? `step ${step}`;
  const { operation, advice } = explainExecFailure(label, errno, head, denyingModules);
  const how = hookStatus === undefined ? `: ${errno}` : `: ${describeStatus(hookStatus)}`;
  throw new TsError(errno === 'ENOENT' ? 'NotFound' : 'FailedPrecondition', `${operation}${how}`, {
    code: 'TS_START_FAILED',
    fields: { id: state.id, errno },
    ...(advice === undefined ? {} : { advice }),
  });
}

interface StartFailure {
  readonly errno: string;
  readonly step: string;
  /** Wait status of the hook that was the failure. */
  readonly hookStatus: number | undefined;
  /** First bytes of the program that could not be executed. */
  readonly head: Uint8Array | undefined;
}

/** The first message that is no announcement. */
function findFailure({ startLabels }: ContainerState, reports: Buffer): StartFailure | undefined {
  let status = 0;
  let head: Uint8Array | undefined;
  for (let at = 0; at + REPORT_BYTES <= reports.length; at += REPORT_BYTES) {
    const errno = Number(reports.readBigUInt64LE(at));
    const step = String(reports.readBigUInt64LE(at + 8));
    const value = Number(reports.readBigInt64LE(at + 16));
    if (errno !== 0) {
      const hookStatus = status === 0 ? undefined : status;
      return { errno: errnoName(errno), step, hookStatus, head };
    }
    if (startLabels[step] === `announce ${PROGRAM_HEAD}`) {
      head = reports.subarray(at + REPORT_BYTES, at + REPORT_BYTES + value);
      at += ANNOUNCED_BYTES;
    } else {
      status = value;
    }
  }
  return undefined;
}

function* runPoststartHooks(options: RuntimeOptions, state: ContainerState): Operation<void> {
  const path = statePath(options.root, state.id, CONFIG_COPY);
  const text = readFileSync(path);
  if (!text.includes('"poststart"')) return; // most containers need neither the parser nor what runs hooks
  const { runPoststartHooks: run } = yield* settled(import('./late-hooks.ts'));
  yield* run(text, state);
}
