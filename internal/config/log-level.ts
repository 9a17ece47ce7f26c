import { TsError } from '../errors/index.ts';
import { LOG_LEVELS, type LogLevel } from './daemon-schema.ts';

/** A level as containerd names it: `warning` and `panic` too, and none is `info`. */
export function levelOf(text: string): LogLevel {
  const level =
    text === '' ? 'info' : text === 'warning' ? 'warn' : text === 'panic' ? 'fatal' : text;
  const known = LOG_LEVELS.find((candidate) => candidate === level);
  if (known !== undefined) return known;
  throw new TsError('InvalidArgument', `log level "${text}" is none of ${LOG_LEVELS.join(', ')}`, {
    code: 'TS_CONFIG_VALUE',
  });
}
