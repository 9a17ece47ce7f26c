/** `run`: create, start, and in the foreground wait for the end. */
import { TsError } from '../errors/index.ts';
import { runAlone, setChildSubreaper } from '../linux/index.ts';
import { loadBundle } from './bundle.ts';
import { createContainer, endScope } from './cgroup-driver.ts';
import { childExit } from './child-exit.ts';
import { readContainerState } from './container-state.ts';
import type { CreateRequest } from './create.ts';
import { deleteContainer, removeContainer } from './delete.ts';
import type { ForegroundTerminal } from './foreground-terminal.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { forwardSignals } from './signal-forwarding.ts';
import { startContainer } from './start.ts';

export interface RunRequest extends CreateRequest {
  readonly detach?: boolean;
  /** Leave the stopped container. */
  readonly keep?: boolean;
  readonly noSubreaper?: boolean;
  /** Called when the program was executed. */
  readonly onStarted?: () => void;
}

/** Returns the exit code of the container's process: its status, or 128 + signal; 0 when detached. */
export async function runContainer(options: RuntimeOptions, request: RunRequest): Promise<number> {
  if (request.detach === true) {
    await createContainer(options, request);
    await startOrDelete(options, request.id);
    request.onStarted?.();
    return 0;
  }
  if (request.noSubreaper !== true) setChildSubreaper(true);
  const bundle = loadBundle(request.bundle);
  return attend(options, request.id, {
    ownsTerminal: request.consoleSocket === undefined && bundle.process.terminal === true,
    keeps: request.keep === true,
    make: (consoleFd) =>
      createContainer(
        options,
        { ...request, isForeground: true, ...(consoleFd === undefined ? {} : { consoleFd }) },
        bundle,
      ),
    begin: async () => {
      await startOrDelete(options, request.id);
      request.onStarted?.();
    },
  });
}

/** A container that this process waits for. */
export interface Attended {
  /** Whether this process is at the other end of the container's terminal. */
  readonly ownsTerminal: boolean;
  /** Leaves the stopped container. */
  readonly keeps: boolean;
  /** Makes it and returns its pid; `consoleFd` takes its terminal. */
  readonly make: (consoleFd: number | undefined) => number | Promise<number>;
  /** What follows once signals are forwarded. */
  readonly begin: () => void | Promise<void>;
}

/** Serves a container's terminal, forwards signals, waits for its end and deletes it. */
export async function attend(
  options: RuntimeOptions,
  id: string,
  { ownsTerminal, keeps, make, begin }: Attended,
): Promise<number> {
  using terminal = ownsTerminal ? await openTerminal() : undefined;
  const pid = await make(terminal?.socket);
  terminal?.attach();
  let exitCode: number;
  {
    using _forwarding = forwardSignals(pid, terminal);
    await begin();
    exitCode = await childExit(pid);
  } // its pid may be another's now: no signal goes there any more
  await terminal?.drain();
  if (!keeps) {
    const state = readContainerState(options.root, id);
    await endScope(await runAlone(removeContainer(options, state)));
  }
  return exitCode;
}

/** Few containers have a terminal here: the others do not pay for loading Node's. */
async function openTerminal(): Promise<ForegroundTerminal> {
  const { ForegroundTerminal: Terminal } = await import('./foreground-terminal.ts');
  return new Terminal();
}

async function startOrDelete(options: RuntimeOptions, id: string): Promise<void> {
  try {
    await runAlone(startContainer(options, id));
  } catch (thrown) {
    const error = TsError.from(thrown);
    try {
      await endScope(await runAlone(deleteContainer(options, id, { force: true })));
    } catch (second) {
      error.cleanup.push(TsError.from(second));
    }
    throw error;
  }
}
