/**
 * The shim's log: lines as containerd's own shim writes them (`time="…" level=info msg="…"`), which
 * the daemon copies from the bundle's fifo into its log. A logging library would cost every pod
 * memory for what is a line a minute.
 *
 * Descriptor 2 is that fifo, opened without blocking. While the daemon is away lines wait in it; when it is full they are
 * lost, and the shim goes on.
 */
import { writeSync } from 'node:fs';
import { TsError } from '../errors/index.ts';

export type LogFields = Readonly<Record<string, unknown>>;
export type LogLevel = 'debug' | 'info' | 'warning' | 'error';

export interface ShimLog {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** Makes a log whose lines all carry `fields`. Debug lines are dropped unless `isDebug`. */
export function createShimLog(
  isDebug: boolean,
  fields: LogFields = {},
  write: (line: string) => void = writeToStderr,
): ShimLog {
  const log = (level: LogLevel) => (message: string, more?: LogFields) => {
    write(formatLogLine(new Date(), level, message, { ...fields, ...more }));
  };
  return {
    debug: isDebug ? log('debug') : () => {},
    info: log('info'),
    warn: log('warning'),
    error: log('error'),
  };
}

/** One line with its newline; nothing in a value can begin another line. */
export function formatLogLine(
  time: Date,
  level: LogLevel,
  message: string,
  fields: LogFields,
): string {
  let line = `time="${time.toISOString()}" level=${level} msg=${JSON.stringify(message)}`;
  for (const [key, value] of Object.entries(fields)) {
    if (value !== undefined) line += ` ${key}=${formatValue(value)}`;
  }
  return `${line}\n`;
}

function formatValue(value: unknown): string {
  const text = value instanceof Error ? errorText(value) : String(value);
  return /^[\w./:@+-]+$/.test(text) ? text : JSON.stringify(text);
}

function errorText(error: Error): string {
  if (!(error instanceof TsError)) return error.stack ?? error.message;
  const cleanup = error.cleanup.map((failure) => `; clean-up: ${failure.message}`);
  return error.text + cleanup.join('');
}

function writeToStderr(line: string): void {
  try {
    writeSync(2, line);
  } catch {
    // The fifo is full. A log line must not stop what it tells of.
  }
}
