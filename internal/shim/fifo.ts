/**
 * The client's ends of stdio. A FIFO is opened without waiting for the other side, and both of its
 * ends are kept: as long as the shim has the reading end of an output, a client that goes away
 * neither kills nor unblocks the writer, and what it has not read is there for the next one.
 */
import { fstatSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { TsError } from '../errors/index.ts';
import { OpenFlag, OwnedFd } from '../linux/index.ts';
import { makeDirectories } from './make-directories.ts';
import { DescriptorSink, FileSink, type Sink } from './sink.ts';

const { O_RDONLY, O_WRONLY, O_NONBLOCK, O_APPEND, O_CREAT, O_NOCTTY } = OpenFlag;

/** A sink that keeps the FIFO's reading end open beside it. */
class FifoSink extends DescriptorSink {
  readonly #reader: OwnedFd;

  constructor(writer: OwnedFd, reader: OwnedFd) {
    super(writer, { isPipe: true });
    this.#reader = reader;
  }

  override close(): void {
    super.close();
    this.#reader.close();
  }
}

/** Opens the path of an output that has no scheme: a FIFO, or a file, which is appended to. */
export function openOutput(path: string): Sink {
  const first = open(path, O_RDONLY | O_NONBLOCK);
  if (!fstatSync(first.number).isFIFO()) {
    first.close();
    return new FileSink(open(path, O_WRONLY | O_APPEND | O_NONBLOCK));
  }
  try {
    return new FifoSink(reopen(first, O_WRONLY), first);
  } catch (thrown) {
    first.close();
    throw thrown;
  }
}

/** Opens or makes a log file, and the directories above it. */
export async function openLogFile(path: string): Promise<Sink> {
  await makeDirectories(dirname(path));
  const sink = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, 0o644);
  if (!fstatSync(sink.number).isFIFO()) return new FileSink(sink);
  sink.close();
  return openOutput(path);
}

/** A client's stdin: it ends when every client is gone and {@link closeWriter} was called. */
export class InputFifo {
  readonly reader: OwnedFd;
  readonly #writer: OwnedFd;

  constructor(path: string) {
    this.reader = open(path, O_RDONLY | O_NONBLOCK);
    try {
      this.#writer = reopen(this.reader, O_WRONLY);
    } catch (thrown) {
      this.reader.close();
      throw thrown;
    }
  }

  /** Lets go of the writing end. What is in the FIFO is still read. */
  closeWriter(): void {
    this.#writer.close();
  }

  /** Lets go of both ends. */
  close(): void {
    this.#writer.close();
    this.reader.close();
  }
}

function open(path: string, flags: number, mode?: number): OwnedFd {
  try {
    return new OwnedFd(openSync(path, flags | O_NOCTTY, mode));
  } catch (thrown) {
    throw TsError.from(thrown, `open ${path}`);
  }
}

/** The same FIFO for the other direction, whatever the path leads to by now. */
function reopen(fd: OwnedFd, flags: number): OwnedFd {
  return open(`/proc/self/fd/${fd.number}`, flags | O_NONBLOCK);
}
