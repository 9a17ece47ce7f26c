/**
 * The log of one command, in the format of runc's (logrus): containerd's shim, conmon and Docker
 * read the last error line of the `--log` file to tell the user why a command failed.
 */
import { openSync, writeSync } from 'node:fs';
import { TsError } from '../../internal/errors/index.ts';

export type LogFormat = 'text' | 'json';
export type LogLevel = 'debug' | 'info' | 'warning' | 'error';

export interface Log {
  readonly toStderr: boolean;
  write(level: LogLevel, message: string): void;
}

const STDERR = 2;

/** One line without its end, as logrus prints it to something that is not a terminal. */
export function formatLogLine(
  format: LogFormat,
  level: LogLevel,
  message: string,
  time: Date,
): string {
  const stamp = rfc3339(time);
  if (format === 'json') return JSON.stringify({ level, msg: message, time: stamp });
  return `time="${stamp}" level=${level} msg=${quoteIfNeeded(message)}`;
}

/** Local time with its offset, seconds precision (RFC 3339). */
export function rfc3339(time: Date): string {
  const offset = -time.getTimezoneOffset();
  const local = new Date(time.getTime() + offset * 60_000).toISOString().slice(0, 19);
  if (offset === 0) return `${local}Z`;
  const minutes = Math.abs(offset);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${local}${offset < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}

function quoteIfNeeded(message: string): string {
  return /^[A-Za-z0-9\-._/@^+]+$/.test(message) ? message : JSON.stringify(message);
}

/**
 * Opens the log: lines are appended to `path`, or go to stderr. Throws what open(2) says, so that a
 * wrong `--log` is an error before anything is done.
 */
export function openLog(path: string | undefined, format: LogFormat, isDebug: boolean): Log {
  const fd = path === undefined || path === '' ? undefined : openLogFile(path);
  return {
    toStderr: fd === undefined,
    write(level, message) {
      if (level === 'debug' && !isDebug) return;
      writeAll(fd ?? STDERR, `${formatLogLine(format, level, message, new Date())}\n`);
    },
  };
}

function openLogFile(path: string): number {
  try {
    return openSync(path, 'a', 0o644); // stays open until the process ends
  } catch (thrown) {
    throw TsError.from(thrown, `open log ${path}`);
  }
}

/** Writes to a stream that may be a closed pipe: a lost log line must not change the outcome. */
function writeAll(fd: number, text: string): void {
  try {
    const bytes = Buffer.from(text);
    for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
  } catch {
    // nobody reads the log; the exit code still tells
  }
}
