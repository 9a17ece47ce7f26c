import type { WindowSize } from '../linux/index.ts';
import type { LogSink } from './log-sink.ts';
import type { RuntimeStdio } from './runtime-client.ts';

/** What a client asked for as a process's streams. */
export interface StdioRequest {
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly hasTerminal: boolean;
}

/** Whose streams they are: loggers are told. */
export interface StdioOwner {
  readonly containerId: string;
  readonly namespace: string;
  /** Owner of the pipes that the process gets. */
  readonly uid: number;
  readonly gid: number;
}

/** The streams of one process, from before it exists until its deletion. */
export interface ProcessIo {
  /** What the runtime is given for the process. */
  readonly runtimeStdio: RuntimeStdio;

  /** The outputs that go to log files of the shim's own. */
  readonly logs: readonly LogSink[];

  /** To be called once the process exists: lets go of its ends and begins to carry. */
  attach(): Promise<void>;

  /** No more input will come: the process sees the end when what there is has been read. */
  closeStdin(): void;

  /** Sets a terminal's size; nothing for a process without one. */
  resize(size: WindowSize): void;

  /**
   * Resolves when what the dead process has written is with the client, or after `deadlineMs`:
   * whoever inherited its streams may write on for ever, and a client may have stopped to read.
   */
  flush(deadlineMs: number): Promise<void>;

  /**
   * Lets the client's streams end although others than the dead process may still write: at once, or
   * when a flush that was given up has come to its end.
   */
  detach(): void;

  /** Closes everything; safe at any time and more than once. */
  close(): Promise<void>;
}

/** Streams that lead nowhere. */
export const NULL_IO: ProcessIo = {
  runtimeStdio: {},
  logs: [],
  attach: async () => {},
  closeStdin: () => {},
  resize: () => {},
  flush: async () => {},
  detach: () => {},
  close: async () => {},
};

/** Waits for all, but not longer than `deadlineMs`. */
export async function withinDeadline(
  deadlineMs: number,
  all: readonly Promise<unknown>[],
): Promise<void> {
  if (all.length === 0) return;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, deadlineMs);
  });
  await Promise.race([Promise.all(all), late]);
  clearTimeout(timer);
}
