/** Hooks that the runtime itself runs, in its own namespaces. */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { Errno, TsError } from '../errors/index.ts';
import {
  createMemfd,
  type ExitedChild,
  type Operation,
  OwnedFd,
  Pipe,
  SyscallProgram,
  steps,
} from '../linux/index.ts';
import type { Hook, State } from '../oci/index.ts';
import { OwnChild } from './child.ts';
import { addHookProcess, type HookStreams, hookTimeoutMs } from './hook-steps.ts';
import { inheritedOpenFiles } from './inherited-limits.ts';
import type { Rollback } from './rollback.ts';
import { describeStatus } from './wait-status.ts';

/** Runs the hooks of one point in order; the first that fails ends it. */
export function* runHooks(
  hooks: readonly Hook[] | undefined,
  point: string,
  state: State,
): Operation<void> {
  for (const [index, hook] of (hooks ?? []).entries()) {
    yield* runHook(hook, `hooks.${point}[${index}]`, state);
  }
}

/** Runs one hook; `name` is its property. */
export function* runHook(hook: Hook, name: string, state: State): Operation<void> {
  using report = new Pipe();
  using stdin = createMemfd('state', new Uint8Array(0), ['MFD_CLOEXEC']);
  using stderr = createMemfd('stderr', new Uint8Array(0), ['MFD_CLOEXEC']);
  using nothing = new OwnedFd(openSync('/dev/null', 'r+'));
  writeState(stdin, state);
  const streams = { stdin: stdin.number, stdout: nothing.number, stderr: stderr.number };
  const program = new SyscallProgram();
  const openFiles = inheritedOpenFiles();
  const context = { streams, report: report.writeEnd.number, openFiles };
  const child = addHookProcess(program.main, steps.cloneProcess({}), hook, name, context);
  using run = program.run();
  report.writeEnd.close();
  const process = yield* OwnChild.adopt(run.value(child));
  const exit = yield* exitOfHook(process, name, hookTimeoutMs(hook));
  program.readReport(report.readEnd.number); // throws if it could not be executed
  const { signal, status = 0 } = exit;
  const waitStatus = signal ?? status << 8;
  if (waitStatus !== 0) throw endedError(name, waitStatus, stderr);
}

/** Waits for a hook; whatever happens meanwhile, it does not outlive its turn. */
function* exitOfHook(
  process: OwnChild,
  name: string,
  timeoutMs: number | undefined,
): Operation<ExitedChild> {
  try {
    const exit = yield* process.exit(timeoutMs);
    if (exit !== undefined) return exit;
  } finally {
    yield* process.end();
  }
  throw TsError.ofErrno(Errno.ETIMEDOUT, `${name} took longer than ${timeoutMs} ms`);
}

/** `hooks.poststart[0] ended with an error: exit status 3: what it wrote`. */
export function endedError(name: string, waitStatus: number, stderr: OwnedFd): TsError {
  const said = readAll(stderr).trim();
  const text = `${name} ended with an error: ${describeStatus(waitStatus)}`;
  return new TsError('FailedPrecondition', said === '' ? text : `${text}: ${said}`, {
    code: 'TS_HOOK_FAILED',
  });
}

const GREATEST_OUTPUT_BYTES = 4096;

function readAll(fd: OwnedFd): string {
  const length = Math.min(fstatSync(fd.number).size, GREATEST_OUTPUT_BYTES);
  const buffer = Buffer.alloc(length);
  return buffer.toString('utf8', 0, length === 0 ? 0 : readSync(fd.number, buffer, 0, length, 0));
}

/** Written by position, so that the hook reads from the start. */
export function writeState(fd: OwnedFd, state: State): void {
  const bytes = Buffer.from(JSON.stringify(state));
  writeSync(fd.number, bytes, 0, bytes.length, 0);
}

/** Streams for hooks that run inside the container; `stdin` is filled once the state is known. */
export interface InnerHook {
  readonly name: string;
  readonly hook: Hook;
  readonly stdin: OwnedFd;
  readonly stderr: OwnedFd;
}

export function openInnerHooks(
  hooks: { createContainer?: readonly Hook[]; startContainer?: readonly Hook[] },
  rollback: Rollback,
): { hooks: InnerHook[]; streams: Map<string, HookStreams> } {
  const inner: InnerHook[] = [];
  const streams = new Map<string, HookStreams>();
  for (const point of ['createContainer', 'startContainer'] as const) {
    (hooks[point] ?? []).forEach((hook, index) => {
      const name = `${point}[${index}]`;
      const stdin = rollback.use(createMemfd('state', new Uint8Array(0), ['MFD_CLOEXEC']));
      const stderr = rollback.use(createMemfd('stderr', new Uint8Array(0), ['MFD_CLOEXEC']));
      const stdout = openSync('/dev/null', 'w');
      rollback.always(() => closeSync(stdout));
      inner.push({ name, hook, stdin, stderr });
      streams.set(name, { stdin: stdin.number, stdout, stderr: stderr.number });
    });
  }
  return { hooks: inner, streams };
}
