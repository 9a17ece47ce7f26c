/**
 * The client's side of a task's FIFOs. Reading ends are opened at once and without waiting, so that the shim finds a reader;
 * of the input both ends are, so that what was written stays until the shim has opened it.
 */
import { closeSync, constants, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { finished } from 'node:stream/promises';
import { TsError } from '../errors/index.ts';
import { makeFifo } from '../linux/fifo.ts';

const DEFAULT_DIRECTORY = '/run/containerd/fifo';
const OWN_PREFIX = 'tsctr-';
const { O_RDONLY, O_WRONLY, O_NONBLOCK } = constants;

/** Where a process's streams lead, as the task API has it; '' for nowhere. */
export interface StdioPaths {
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
}

export const NO_STDIO: StdioPaths = { stdin: '', stdout: '', stderr: '' };

/** New FIFOs in a directory of their own. A terminal has no stderr: all it writes is one stream. */
export function makeFifos(
  name: string,
  hasTerminal: boolean,
  directory = DEFAULT_DIRECTORY,
): StdioPaths {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const own = mkdtempSync(join(directory, OWN_PREFIX));
    const make = (stream: string): string => {
      const path = join(own, `${name}-${stream}`);
      makeFifo(path, 0o700);
      return path;
    };
    return {
      stdin: make('stdin'),
      stdout: make('stdout'),
      stderr: hasTerminal ? '' : make('stderr'),
    };
  } catch (thrown) {
    throw TsError.from(thrown, `make FIFOs in ${directory}`);
  }
}

/** Removes the FIFOs of {@link makeFifos}. */
export function removeFifos({ stdout }: StdioPaths): void {
  if (stdout !== '') rmSync(dirname(stdout), { recursive: true, force: true });
}

/** Removes the FIFOs that a detached process was given, once it has been deleted. Those of other clients are theirs. */
export function removeDetachedFifos(stdout: string): void {
  const directory = dirname(stdout);
  if (basename(directory).startsWith(OWN_PREFIX))
    rmSync(directory, { recursive: true, force: true });
}

/** The streams of a process that are open here. */
export class TaskStreams implements Disposable {
  readonly #paths: StdioPaths;
  readonly #outputs: { readonly fd: number; readonly to: NodeJS.WritableStream }[];
  /** Keeps the input's buffer alive. */
  readonly #inputReader: number | undefined;
  readonly #sockets: Socket[] = [];
  #drained: Promise<unknown> = Promise.resolve();

  constructor(paths: StdioPaths) {
    this.#paths = paths;
    const { stdout, stderr } = process;
    const open = (path: string, to: NodeJS.WritableStream) => {
      return path === '' ? [] : [{ fd: openFifo(path, O_RDONLY), to }];
    };
    this.#outputs = [...open(paths.stdout, stdout), ...open(paths.stderr, stderr)];
    this.#inputReader = paths.stdin === '' ? undefined : openFifo(paths.stdin, O_RDONLY);
  }

  /**
   * Begins to pass output on. Only once the shim has its ends, which it has when the process is created: a FIFO without a
   * writer is at its end.
   */
  relayOutput(): void {
    const ends = this.#outputs.map(({ fd, to }) => {
      const socket = new Socket({ fd, readable: true, writable: false });
      this.#sockets.push(socket);
      socket.pipe(to, { end: false });
      return finished(socket, { writable: false }).catch(() => undefined); // the process's exit says more
    });
    this.#drained = Promise.all(ends);
  }

  /** Passes this process's input on; calls back at its end, when the writing end here is closed. */
  relayInput(input: NodeJS.ReadStream, onEnd: () => void): void {
    if (this.#inputReader === undefined) return;
    const socket = new Socket({
      fd: openFifo(this.#paths.stdin, O_WRONLY),
      readable: false,
      writable: true,
    });
    this.#sockets.push(socket);
    socket.on('error', () => undefined); // nobody reads any more: the process has ended
    socket.once('close', onEnd);
    input.pipe(socket);
  }

  /** Waits until all output has come, or for that long. */
  async drain(limitMs: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), limitMs);
    });
    const isDrained = await Promise.race([this.#drained.then(() => true), late]);
    clearTimeout(timer);
    return isDrained;
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.destroy();
    if (this.#sockets.length === 0) for (const { fd } of this.#outputs) closeSync(fd);
    if (this.#inputReader !== undefined) closeSync(this.#inputReader);
  }
}

function openFifo(path: string, flags: number): number {
  try {
    return openSync(path, flags | O_NONBLOCK);
  } catch (thrown) {
    throw TsError.from(thrown, `open ${path}`);
  }
}
