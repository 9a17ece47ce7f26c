import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { TsError } from '../errors/index.ts';
import {
  acceptUnix,
  duplicateFd,
  listenUnix,
  type OwnedFd,
  receiveFds,
  setWindowSize,
  type WindowSize,
  waitReadable,
} from '../linux/index.ts';
import type { InputFifo } from './fifo.ts';
import type { LogSink } from './log-sink.ts';
import type { Logger } from './logger.ts';
import { type ProcessIo, withinDeadline } from './process-io.ts';
import { inputPump, Pump } from './pump.ts';
import { DescriptorSink, type Sink } from './sink.ts';

/** The runtime sends the terminal before it reports success; this is for one that does not. */
const RECEIVE_MS = 10_000;

export interface TerminalIoTargets {
  readonly stdin: InputFifo | undefined;
  readonly stdout: Sink | undefined;
  readonly logger: Logger | undefined;
  /** The output, if it is a log. */
  readonly logs: readonly LogSink[];
  readonly onTrouble: (stream: string, error: Error) => void;
}

/**
 * A terminal: the runtime makes it and sends its master over a socket, which lives in a directory
 * that only this user can enter.
 */
export class TerminalIo implements ProcessIo {
  readonly runtimeStdio: { readonly consoleSocket: string };
  readonly logs: readonly LogSink[];
  readonly #targets: TerminalIoTargets;
  readonly #directory: string;
  readonly #listener: OwnedFd;
  #master: OwnedFd | undefined;
  #output: Pump | undefined;
  #input: Pump | undefined;
  #size: WindowSize | undefined;

  /** Owns the targets from now on; `runDirectory` is where the socket's directory is made. */
  constructor(targets: TerminalIoTargets, runDirectory: string) {
    this.#targets = targets;
    this.logs = targets.logs;
    this.#directory = mkdtempSync(join(runDirectory, 'tsrunc-pty-'));
    const consoleSocket = join(this.#directory, 's');
    try {
      this.#listener = listenUnix(consoleSocket, 1);
    } catch (thrown) {
      rmSync(this.#directory, { recursive: true, force: true });
      throw thrown;
    }
    this.runtimeStdio = { consoleSocket };
  }

  async attach(): Promise<void> {
    const master = await this.#receive();
    this.#master = master;
    this.#closeSocket();
    if (this.#size !== undefined) setWindowSize(master.number, this.#size);
    const { stdin, logger } = this.#targets;
    logger?.stderr.writeEnd.close();
    const sink =
      logger === undefined
        ? this.#targets.stdout
        : new DescriptorSink(logger.stdout.writeEnd, { isPipe: true });
    if (sink !== undefined) {
      this.#output = new Pump({
        source: duplicateFd(master.number),
        sink,
        isSourceTerminal: true,
        discardsWhenBroken: true,
        onTrouble: (error) => this.#targets.onTrouble('stdout', error),
      });
      this.#output.start();
    }
    if (stdin === undefined) return;
    const terminal = new DescriptorSink(duplicateFd(master.number), { isPipe: false });
    this.#input = inputPump(stdin, terminal, this.#targets.onTrouble);
    this.#input.start();
  }

  closeStdin(): void {
    this.#targets.stdin?.closeWriter();
  }

  resize(size: WindowSize): void {
    this.#size = size;
    if (this.#master !== undefined) setWindowSize(this.#master.number, size);
  }

  async flush(deadlineMs: number): Promise<void> {
    this.#input?.close();
    if (this.#output !== undefined) await withinDeadline(deadlineMs, [this.#output.flush()]);
  }

  detach(): void {
    this.#output?.detach();
  }

  async close(): Promise<void> {
    this.#closeSocket();
    const { stdin, stdout, logger } = this.#targets;
    this.#input?.close();
    stdin?.close();
    if (this.#output === undefined) stdout?.close();
    else this.#output.close();
    this.#master?.close();
    this.#master = undefined;
    await logger?.close();
  }

  #closeSocket(): void {
    this.#listener.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #receive(): Promise<OwnedFd> {
    const deadline = AbortSignal.timeout(RECEIVE_MS);
    try {
      await waitReadable(this.#listener.number, deadline);
      using connection = acceptUnix(this.#listener);
      await waitReadable(connection.number, deadline);
      const [master, ...more] = receiveFds(connection.number).fds;
      for (const fd of more) fd.close();
      if (master !== undefined) return master;
    } catch (thrown) {
      throw TsError.from(thrown, 'receive terminal from the runtime');
    }
    throw new TsError('Unknown', 'receive terminal from the runtime: message without a descriptor');
  }
}
