import { parseArguments, USAGE } from './arguments.ts';
import { versionText } from './version.ts';

/** Does what the command line asks for. What only one command needs is loaded for that command. */
export async function run(args: readonly string[]): Promise<void> {
  const given = parseArguments(args);
  switch (given.command) {
    case 'help':
      console.log(USAGE);
      return;
    case 'version':
      console.log(versionText());
      return;
    case 'serve': {
      const { serve } = await import('./serve.ts');
      return await serve(given);
    }
    default: {
      const { runCommand } = await import('./commands.ts');
      return await runCommand(given, given.command);
    }
  }
}
