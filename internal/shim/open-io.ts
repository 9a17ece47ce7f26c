import { tmpdir } from 'node:os';
import type { ChildRegistry } from './command.ts';
import { InputFifo, openLogFile, openOutput } from './fifo.ts';
import { Logger } from './logger.ts';
import { LoggerIo } from './logger-io.ts';
import { PipeIo } from './pipe-io.ts';
import { NULL_IO, type ProcessIo, type StdioOwner, type StdioRequest } from './process-io.ts';
import type { Sink, SinkError } from './sink.ts';
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
  onBroken: (stream: string, error: SinkError) => void,
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
    const output = logger === undefined ? await openSink(stdout, keep) : undefined;
    if (request.hasTerminal) {
      const targets = { stdin: input, stdout: output, logger, onBroken };
      return new TerminalIo(targets, runDirectory());
    }
    const errors = await openSink(stdout.kind === 'file' ? stdout : stderr, keep);
    return new PipeIo({ stdin: input, stdout: output, stderr: errors, onBroken }, owner);
  } catch (thrown) {
    for (const resource of opened.reverse()) await resource.close();
    throw thrown;
  }
}

async function openSink(
  target: StdioTarget,
  keep: (sink: Sink) => Sink,
): Promise<Sink | undefined> {
  switch (target.kind) {
    case 'fifo':
      return keep(openOutput(target.path));
    case 'file':
      return keep(await openLogFile(target.path));
    default:
      return undefined;
  }
}

/** Short, so that a socket's path fits into 107 bytes; private directories are made inside. */
function runDirectory(): string {
  return process.env['XDG_RUNTIME_DIR'] ?? (process.getuid?.() === 0 ? '/run' : tmpdir());
}
