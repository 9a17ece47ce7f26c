import { TsError } from '../../errors/index.ts';
import type { Command, CommandGroup } from '../command.ts';
import { COMPLETION_SCRIPTS } from '../completion-scripts.ts';

/** `tsctr completion`. */
export const COMPLETION: CommandGroup = {
  name: 'completion',
  summary: 'print what a shell needs to complete command lines',
  commands: [
    script('bash', 'source <(tsctr completion bash)'),
    script('zsh', 'source <(tsctr completion zsh)'),
    script('fish', 'tsctr completion fish | source'),
  ],
};

function script(shell: keyof typeof COMPLETION_SCRIPTS, use: string): Command {
  return {
    name: shell,
    summary: `for ${shell}: ${use}`,
    isLocal: true,
    async run({ args, output }) {
      const [extra] = args;
      if (extra !== undefined) {
        throw new TsError(
          'InvalidArgument',
          `completion ${shell} takes no argument ${JSON.stringify(extra)}`,
        );
      }
      output.write(COMPLETION_SCRIPTS[shell]);
    },
  };
}
