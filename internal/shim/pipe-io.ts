import { fchownSync } from 'node:fs';
import { type OwnedFd, Pipe } from '../linux/index.ts';
import type { InputFifo } from './fifo.ts';
import type { LogSink } from './log-sink.ts';
import { type ProcessIo, type StdioOwner, withinDeadline } from './process-io.ts';
import { inputPump, Pump } from './pump.ts';
import type { ChildStdio } from './runtime-client.ts';
import { DescriptorSink, type Sink } from './sink.ts';

export interface PipeIoTargets {
  readonly stdin: InputFifo | undefined;
  readonly stdout: Sink | undefined;
  readonly stderr: Sink | undefined;
  /** Those of the two that are logs. */
  readonly logs: readonly LogSink[];
  readonly onTrouble: (stream: string, error: Error) => void;
}

/** Three pipes: the process has their far ends, the shim carries between the near ones and the client. */
export class PipeIo implements ProcessIo {
  readonly runtimeStdio: ChildStdio;
  readonly logs: readonly LogSink[];
  readonly #childEnds: OwnedFd[] = [];
  readonly #outputs: Pump[] = [];
  #input: Pump | undefined;
  readonly #stdin: InputFifo | undefined;

  /** Owns the targets from now on. */
  constructor(targets: PipeIoTargets, owner: StdioOwner) {
    this.#stdin = targets.stdin;
    this.logs = targets.logs;
    try {
      this.runtimeStdio = {
        stdin: this.#addInput(targets.stdin, targets.onTrouble),
        stdout: this.#addOutput('stdout', targets.stdout, targets.onTrouble),
        stderr: this.#addOutput('stderr', targets.stderr, targets.onTrouble),
      };
      for (const end of this.#childEnds) fchownSync(end.number, owner.uid, owner.gid);
    } catch (thrown) {
      this.#closeAll();
      throw thrown;
    }
  }

  async attach(): Promise<void> {
    this.#closeChildEnds();
    for (const pump of this.#outputs) pump.start();
    this.#input?.start();
  }

  closeStdin(): void {
    this.#stdin?.closeWriter();
  }

  resize(): void {
    // a pipe has no size
  }

  async flush(deadlineMs: number): Promise<void> {
    const flushed = this.#outputs.map((pump) => pump.flush());
    await withinDeadline(deadlineMs, flushed);
  }

  detach(): void {
    for (const pump of this.#outputs) pump.detach();
  }

  async close(): Promise<void> {
    this.#closeAll();
  }

  #closeAll(): void {
    this.#closeChildEnds();
    this.#input?.close();
    this.#stdin?.close();
    for (const pump of this.#outputs) pump.close();
  }

  #addInput(
    fifo: InputFifo | undefined,
    onTrouble: PipeIoTargets['onTrouble'],
  ): number | undefined {
    if (fifo === undefined) return undefined;
    const pipe = new Pipe();
    const sink = new DescriptorSink(pipe.writeEnd, { isPipe: true });
    this.#input = inputPump(fifo, sink, onTrouble);
    return this.#child(pipe.readEnd);
  }

  #addOutput(
    stream: string,
    sink: Sink | undefined,
    onTrouble: PipeIoTargets['onTrouble'],
  ): number | undefined {
    if (sink === undefined) return undefined;
    const pipe = new Pipe();
    const pump = new Pump({
      source: pipe.readEnd,
      sink,
      discardsWhenBroken: true,
      onTrouble: (error) => onTrouble(stream, error),
    });
    this.#outputs.push(pump);
    return this.#child(pipe.writeEnd);
  }

  #child(end: OwnedFd): number {
    this.#childEnds.push(end);
    return end.number;
  }

  #closeChildEnds(): void {
    for (const end of this.#childEnds) end.close();
  }
}
