import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

export interface LogOptions {
  level: string;
  /** What the lines are about: the program's name. */
  name: string;
  /** Where lines go: a file descriptor (2 by default) or a path that is appended to. */
  destination?: number | string;
}

/**
 * Structured JSON log lines, one object a line, time in RFC 3339. Writing is synchronous, so that
 * the last lines before a crash are not lost.
 */
export function createLogger(options: LogOptions): Logger {
  return pino(
    {
      level: options.level,
      base: { program: options.name },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'msg',
      errorKey: 'error',
    },
    pino.destination({ dest: options.destination ?? 2, sync: true }),
  );
}
