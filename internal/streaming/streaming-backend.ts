import type { Duplex, Readable, Writable } from 'node:stream';

/** Size of a terminal, in characters. */
export interface TerminalSize {
  readonly width: number;
  readonly height: number;
}

/** The streams of a process as a client holds their other ends. */
export interface ProcessStreams {
  readonly stdin: Readable | undefined;
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  readonly hasTty: boolean;
  /** Called with each new size of the client's terminal, the first one included. */
  onResize(listener: (size: TerminalSize) => void): void;
}

/** A request of Exec or Attach: which streams the client wants. */
export interface CommandRequest {
  readonly containerId: string;
  /** Empty for Attach. */
  readonly cmd: readonly string[];
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

/** The end of a command with another exit code than 0, which is an answer and no failure. */
export class ExitError extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`command terminated with non-zero exit code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** What streams are connected to. `signal` aborts when the client has gone. */
export interface StreamingBackend {
  /** Resolves when the process has ended and its output is written; throws {@link ExitError}, or what went wrong. */
  exec(request: CommandRequest, streams: ProcessStreams, signal: AbortSignal): Promise<void>;
  attach(request: CommandRequest, streams: ProcessStreams, signal: AbortSignal): Promise<void>;
  /** Connects to a port of a pod; resolves when the connection is over. */
  portForward(
    podSandboxId: string,
    port: number,
    stream: Duplex,
    signal: AbortSignal,
  ): Promise<void>;
}
