/** Hooks that the runtime itself runs, in its own namespaces. */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { createMemfd, OwnedFd, Pipe, SyscallProgram } from '../linux/index.ts';
import type { Hook, State } from '../oci/index.ts';
import { addHook, type HookStreams } from './hook-steps.ts';
import type { Rollback } from './rollback.ts';

export type OpenFiles = { readonly soft: bigint; readonly hard: bigint };

/** Runs the hooks of one point in order; the first that fails ends it. */
export function runHooks(
  hooks: readonly Hook[] | undefined,
  point: string,
  state: State,
  openFiles: OpenFiles,
): void {
  hooks?.forEach((hook, index) => {
    runHook(hook, `hooks.${point}[${index}]`, state, openFiles);
  });
}

function runHook(hook: Hook, name: string, state: State, openFiles: OpenFiles): void {
  using report = new Pipe();
  using stdin = createMemfd('state', new Uint8Array(0), ['MFD_CLOEXEC']);
  using stderr = createMemfd('stderr', new Uint8Array(0), ['MFD_CLOEXEC']);
  using nothing = new OwnedFd(openSync('/dev/null', 'r+'));
  writeState(stdin, state);
  const streams = { stdin: stdin.number, stdout: nothing.number, stderr: stderr.number };
  const program = new SyscallProgram();
  const context = { streams, report: report.writeEnd.number, openFiles };
  const ended = addHook(program.main, hook, name, context);
  try {
    program.run()[Symbol.dispose]();
  } catch (thrown) {
    report.writeEnd.close();
    throw hookError(
      TsError.from(thrown),
      name,
      () => {
        // The hook's own child reports first if it could not be executed.
        const reached = program.readReport(report.readEnd.number);
        return reached?.announcement === ended ? Number(reached.value) : undefined;
      },
      stderr,
    );
  }
}

/** The hook's exit status and what it said, instead of the bare failure of the step. */
export function hookError(
  error: TsError,
  name: string,
  readStatus: () => number | undefined,
  stderr: OwnedFd,
): TsError {
  let status: number | undefined;
  try {
    status = readStatus();
  } catch (thrown) {
    return TsError.from(thrown);
  }
  if (status === undefined) return error;
  return endedError(name, status, stderr);
}

/** `hooks.poststart[0] ended with an error: exit status 3: what it wrote`. */
export function endedError(name: string, waitStatus: number, stderr: OwnedFd): TsError {
  const said = readAll(stderr).trim();
  const text = `${name} ended with an error: ${describeStatus(waitStatus)}`;
  return new TsError('FailedPrecondition', said === '' ? text : `${text}: ${said}`, {
    code: 'TS_HOOK_FAILED',
  });
}

/** A wait status (man 2 wait) in words. */
export function describeStatus(waitStatus: number): string {
  const signal = waitStatus & 0x7f;
  return signal === 0 ? `exit status ${(waitStatus >> 8) & 0xff}` : `signal ${signal}`;
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
