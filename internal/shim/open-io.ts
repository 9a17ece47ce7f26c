import { tmpdir } from 'node:os';
import type { ChildRegistry } from './command.ts';
import { InputFifo, openLogFile, openOutput } from './fifo.ts';
import { LogSink, openLog } from './log-sink.ts';
import type { LogTarget, StreamName } from './log-uri.ts';
import { Logger } from './logger.ts';
import { LoggerIo } from './logger-io.ts';
import { PipeIo } from './pipe-io.ts';
import { NULL_IO, type ProcessIo, type StdioOwner, type StdioRequest } from './process-io.ts';
import type { Sink } from './sink.ts';
import { parseStdioUri, type StdioTarget } from './stdio-uri.ts';
import { TerminalIo } from './terminal-io.ts';

/** Something that was opened and must be closed if a later step fails. */
interface Opened {
  close(): unknown;
}

/**
 * Opens a client's streams for one process. What stdout is decides for the whole, as containerd's
 * shim has it: a logger or a file gets stderr, too. When it throws, nothing stays open.
 */
export async function openIo(
  request: StdioRequest,
  owner: StdioOwner,
  children: ChildRegistry,
  onTrouble: (stream: string, error: Error) => void,
): Promise<ProcessIo> {
  const stdout = parseStdioUri(request.stdout);
  const stderr = request.hasTerminal ? parseStdioUri('') : parseStdioUri(request.stderr);
  const stdin = parseStdioUri(request.stdin);
  const isNothing = [stdin, stdout, stderr].every((target) => target.kind === 'none');
  if (isNothing && !request.hasTerminal) return NULL_IO;

  const opened: Opened[] = [];
  const keep = <T extends Opened>(resource: T): T => {
    opened.push(resource);
    return resource;
  };
  try {
    const logger =
      stdout.kind === 'binary' ? keep(await Logger.start(stdout, owner, children)) : undefined;
    if (logger !== undefined && !request.hasTerminal) return new LoggerIo(logger, owner);
    const input = stdin.kind === 'fifo' ? keep(new InputFifo(stdin.path)) : undefined;
    const logs = new LogSinks(onTrouble);
    const open = async (target: StdioTarget, stream: StreamName): Promise<Sink | undefined> => {
      const sink = target.kind === 'log' ? logs.open(target, stream) : openSink(target);
      const opened = await sink;
      return opened === undefined ? undefined : keep(opened);
    };
    const output = logger === undefined ? await open(stdout, 'stdout') : undefined;
    if (request.hasTerminal) {
      const targets = { stdin: input, stdout: output, logger, logs: logs.all, onTrouble };
      return new TerminalIo(targets, runDirectory());
    }
    const errors = await open(stdout.kind === 'file' ? stdout : stderr, 'stderr');
    const targets = { stdin: input, stdout: output, stderr: errors, logs: logs.all, onTrouble };
    return new PipeIo(targets, owner);
  } catch (thrown) {
    for (const resource of opened.reverse()) await resource.close();
    throw thrown;
  }
}

async function openSink(target: StdioTarget): Promise<Sink | undefined> {
  switch (target.kind) {
    case 'fifo':
      return openOutput(target.path);
    case 'file':
      return openLogFile(target.path);
    default:
      return undefined;
  }
}

/** The logs of one process. Streams that name the same path share the file, line by line. */
class LogSinks {
  readonly all: LogSink[] = [];
  readonly #onTrouble: (stream: string, error: Error) => void;

  constructor(onTrouble: (stream: string, error: Error) => void) {
    this.#onTrouble = onTrouble;
  }

  async open(target: LogTarget, field: StreamName): Promise<LogSink> {
    const stream = target.stream ?? field;
    const shared = this.all.find(({ file }) => file.path === target.path)?.file;
    const onTrouble = (error: Error): void => this.#onTrouble(stream, error);
    const file = shared ?? (await openLog(target, onTrouble));
    const sink = new LogSink(file, target, stream, onTrouble);
    this.all.push(sink);
    return sink;
  }
}

/** Short, so that a socket's path fits into 107 bytes; private directories are made inside. */
function runDirectory(): string {
  return process.env['XDG_RUNTIME_DIR'] ?? (process.getuid?.() === 0 ? '/run' : tmpdir());
}
