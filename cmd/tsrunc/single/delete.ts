import { deleteSpec } from '../command-specs.ts';
import { deleteContainer } from '../container-actions.ts';
import { runSingle } from '../single-command.ts';

export { exitProcess } from '../../../internal/linux/exit.ts';

/** `tsrunc delete` alone; undefined if that is not what the command line says. */
export function main(argv: readonly string[]): Promise<number | undefined> {
  return runSingle(argv, deleteSpec(), deleteContainer);
}
