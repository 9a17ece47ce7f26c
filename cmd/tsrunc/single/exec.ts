import { execSpec } from '../command-specs.ts';
import { exec } from '../container-actions.ts';
import { runSingle } from '../single-command.ts';

export { exitProcess } from '../../../internal/linux/exit.ts';

/** `tsrunc exec` alone; undefined if that is not what the command line says. */
export function main(argv: readonly string[]): Promise<number | undefined> {
  return runSingle(argv, execSpec(), exec);
}
