import { type ErrorKind, TsError } from '../errors/index.ts';

/** Where an entry begins: runc writes one on a line, crun spreads one over several that are indented. */
const BEFORE_ENTRY = /\n(?=\{)/;

/**
 * The last error in a runtime's log file (`--log-format json`: objects with level, msg and time).
 * What is no such object is passed over; undefined when there is no error.
 */
export function lastRuntimeError(log: string): string | undefined {
  const entries = log.split(BEFORE_ENTRY);
  for (let index = entries.length - 1; index >= 0; index--) {
    const message = errorMessage(entries[index] ?? '');
    if (message !== undefined) return message;
  }
  return undefined;
}

function errorMessage(text: string): string | undefined {
  let entry: unknown;
  try {
    entry = JSON.parse(text);
  } catch {
    return undefined; // torn by a killed runtime, or another format
  }
  const { level, msg } = (entry ?? {}) as { level?: unknown; msg?: unknown };
  const isError = level === 'error' || level === 'fatal' || level === 'panic';
  return isError && typeof msg === 'string' && msg !== '' ? msg.trim() : undefined;
}

/** How a run of the runtime's binary ended when it was not success. */
export interface RuntimeFailure {
  /** `create`, `start`, …: the runtime's command. */
  readonly command: string;
  readonly log: string;
  /** What it printed; the fallback when the log says nothing. */
  readonly output: string;
  readonly code: number | null;
  readonly signal: string | null;
}

/** The error for a failed run: the runtime's own message if it left one. */
export function runtimeError(failure: RuntimeFailure): TsError {
  const message = lastRuntimeError(failure.log) ?? lastLine(failure.output) ?? ending(failure);
  return failedCommand(failure.command, message, failure.signal);
}

/** The error for a command that ended with a message; `signal` is what has killed the runtime. */
export function failedCommand(command: string, message: string, signal: string | null): TsError {
  return new TsError(kindOf(command, message), textOf(command, message), {
    code: 'TS_RUNTIME_FAILED',
    fields: { command, ...(signal === null ? {} : { signal }) },
  });
}

function textOf(command: string, message: string): string {
  // Clients of containerd look for these words when they kill what may be dead already.
  if (command === 'kill' && isGone(message)) return 'process already finished';
  if (command === 'kill') return `unknown error after kill: ${message}`;
  if (command === 'delete') return `failed to delete task: ${message}`;
  return `OCI runtime ${command} failed: ${message}`;
}

function kindOf(command: string, message: string): ErrorKind {
  if ((command === 'kill' || command === 'delete') && isGone(message)) return 'NotFound';
  return 'Unknown';
}

const GONE = [
  'process already finished',
  'container not running',
  'no such process',
  'does not exist',
];

function isGone(message: string): boolean {
  const text = message.toLowerCase();
  return GONE.some((words) => text.includes(words));
}

function lastLine(output: string): string | undefined {
  return output
    .split('\n')
    .map((line) => line.trim())
    .findLast((line) => line !== '');
}

function ending({ code, signal }: RuntimeFailure): string {
  return signal === null ? `exit status ${code}` : `killed by ${signal}`;
}
