import { type Logger, pino } from 'pino';
import { textLine } from './text-line.ts';

export type { Logger } from 'pino';

/** How lines are written: objects of JSON, or containerd's text. */
export type LogFormat = 'json' | 'text';

export interface LogOptions {
  level: string;
  /** What the lines are about: the program's name. */
  name: string;
  /** JSON by default. */
  format?: LogFormat;
  /** Where lines go: a file descriptor (2 by default) or a path that is appended to. */
  destination?: number | string;
}

/**
 * Structured log lines, time in RFC 3339, levels by containerd's names. Writing is synchronous, so
 * that the last lines before a crash are not lost.
 */
export function createLogger(options: LogOptions): Logger {
  const destination = pino.destination({ dest: options.destination ?? 2, sync: true });
  return pino(
    {
      level: options.level,
      base: { program: options.name },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label === 'warn' ? 'warning' : label }) },
      messageKey: 'msg',
      errorKey: 'error',
    },
    options.format === 'text'
      ? { write: (line: string) => void destination.write(textLine(line)) }
      : destination,
  );
}
