import { runSpec } from '../command-specs.ts';
import { run } from '../container-actions.ts';
import { runSingle } from '../single-command.ts';

export { exitProcess } from '../../../internal/linux/exit.ts';

/** `tsrunc run` alone; undefined if that is not what the command line says. */
export function main(argv: readonly string[]): Promise<number | undefined> {
  return runSingle(argv, runSpec(), run);
}
