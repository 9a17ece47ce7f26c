import { Tasks } from '../api/generated/containerd.services.tasks.v1.ts';
import { TsError } from '../errors/index.ts';
import type { Client } from './client.ts';
import { forwardSignals } from './forwarded-signals.ts';
import { type StdioPaths, TaskStreams } from './task-io.ts';
import { RawTerminal } from './terminal.ts';

/** Output that comes after the process has ended is waited for as long as it is being copied. */
const DRAIN_MS = 2000;
const LAST_DRAIN_MS = 5000;

/** A process of a task that this program is connected to. */
export interface SessionProcess {
  readonly containerId: string;
  /** '' for the task's first process. */
  readonly execId: string;
  readonly stdio: StdioPaths;
  readonly hasTerminal: boolean;
}

/** What differs between run, exec and attach. */
export interface SessionSteps {
  /** Makes the process; its streams are open here by then. */
  create?(): Promise<void>;
  /** Starts it. */
  start?(): Promise<void>;
  /** Deletes what has ended. */
  delete(): Promise<void>;
}

/**
 * Connects this program's input, output, signals and terminal to a process until that ends. Returns its exit code.
 */
export async function runSession(
  client: Client,
  target: SessionProcess,
  steps: SessionSteps,
): Promise<number> {
  const tasks = client.service(Tasks);
  const { containerId, execId } = target;
  using terminal = target.hasTerminal ? new RawTerminal() : undefined;
  using streams = new TaskStreams(target.stdio);
  await steps.create?.();
  // Asked before it starts, so that no exit is missed.
  const exit = tasks.wait({ containerId, execId });
  exit.catch(() => undefined); // looked at below, unless the start fails first
  streams.relayOutput();
  // Before it starts: once it has written something, whoever saw it may send a signal.
  using _signals = forwardSignals(target.hasTerminal, (signal) => {
    return tasks.kill({ containerId, execId, signal });
  });
  await steps.start?.();
  streams.relayInput(process.stdin, () => {
    // What is closed already is closed as it should be.
    tasks.closeIO({ containerId, execId, stdin: true }).catch(() => undefined);
  });
  const unwatch = terminal && followSize(client, target, terminal);
  try {
    const { exitStatus } = await exit;
    const isDrained = await streams.drain(DRAIN_MS);
    await steps.delete().catch(ignoreNotFound);
    if (!isDrained) await streams.drain(LAST_DRAIN_MS);
    return exitStatus;
  } finally {
    unwatch?.();
    process.stdin.unpipe();
    process.stdin.pause();
  }
}

/** Somebody else deleted it: it is gone as it should be. */
function ignoreNotFound(thrown: unknown): void {
  if (TsError.from(thrown).kind !== 'NotFound') throw thrown;
}

function followSize(client: Client, target: SessionProcess, terminal: RawTerminal): () => void {
  const { containerId, execId } = target;
  const resize = (): void => {
    const size = terminal.size;
    // A window that cannot be told is no reason to end.
    client
      .service(Tasks)
      .resizePty({ containerId, execId, ...size })
      .catch(() => undefined);
  };
  resize();
  return terminal.onResize(resize);
}
