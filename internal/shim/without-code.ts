import { TsError } from '../errors/index.ts';

/**
 * A failure of the shim's own as containerd's shim reports it: in front of it what was tried, and no
 * code. NotFound of a Create or Start would read as if there was no such task, and clients go by it.
 */
export function withoutCode(context: string, thrown: unknown): TsError {
  const error = TsError.from(thrown);
  const { message, code, advice, fields } = error;
  const wrapped = new TsError('Unknown', `${context}: ${message}`, {
    cause: error,
    fields,
    ...(code === undefined ? {} : { code }),
    ...(advice === undefined ? {} : { advice }),
  });
  wrapped.cleanup.push(...error.cleanup);
  return wrapped;
}
