import { TsError } from '../../internal/errors/index.ts';

/** Tells what went wrong and ends the process. */
export function endWith(error: unknown): never {
  console.error(`tscontainerd: ${TsError.from(error).text}`);
  process.exit(1);
}
