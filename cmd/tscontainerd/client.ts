import { runClient } from '../../internal/client/index.ts';
import { REVISION, VERSION } from '../../internal/server/version.ts';

/** Runs the program as `tsctr` and ends the process once all is written that it printed. */
export async function runAsClient(args: readonly string[]): Promise<void> {
  const code = await runClient(args, { version: VERSION, revision: REVISION });
  process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
}
