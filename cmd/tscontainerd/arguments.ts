import { parseArgs } from 'node:util';
import type { Flags } from '../../internal/config/index.ts';
import { TsError } from '../../internal/errors/index.ts';

export const USAGE = `tscontainerd - container daemon with the containerd API

Usage: tscontainerd [flags]                 serve
       tscontainerd [flags] config default  print the default configuration
       tscontainerd [flags] config dump     print the configuration in effect
       tscontainerd [flags] config explain IMAGE  print where IMAGE would be fetched from, and why
       tscontainerd [flags] config migrate  print the configuration file as version 3
       tscontainerd [flags] doctor disk     print whose the bytes below the root are; the daemon may be running
       tscontainerd [flags] fsck [--deep]   check the data of a stopped daemon; exit code 1 if damaged
       tscontainerd [flags] publish --namespace NS --topic TOPIC  publish an event from stdin

Flags:
  -c, --config FILE      configuration (default /etc/containerd/config.toml, if it is there)
  -a, --address SOCKET   socket of the API
      --root DIR         persistent data
      --state DIR        data of running containers
  -l, --log-level LEVEL  trace, debug, info, warn, error, fatal
  -v, --version          print the version
  -h, --help             print this`;

const COMMANDS = [
  'config default',
  'config dump',
  'config migrate',
  'doctor disk',
  'fsck',
  'publish',
] as const;
type Command = (typeof COMMANDS)[number] | 'config explain' | 'serve' | 'version' | 'help';

/** What the command line asks for. */
export interface Arguments {
  readonly command: Command;
  /** The file of --config, or undefined when the default one is meant. */
  readonly configPath: string | undefined;
  readonly flags: Flags;
  readonly namespace: string;
  readonly topic: string;
  /** The image that is to be explained, else ''. */
  readonly image: string;
  /** Whether fsck reads every blob. */
  readonly isDeep: boolean;
}

/** Parses the command line; what it does not know is InvalidArgument. */
export function parseArguments(argv: readonly string[]): Arguments {
  const { values, positionals } = parse(argv);
  const { root, state, address } = values;
  return {
    command: commandOf(values, positionals),
    configPath: values.config,
    flags: { root, state, address, logLevel: values['log-level'] },
    namespace: values.namespace ?? '',
    topic: values.topic ?? '',
    image: positionals[2] ?? '',
    isDeep: values.deep === true,
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        address: { type: 'string', short: 'a' },
        config: { type: 'string', short: 'c' },
        deep: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
        'log-level': { type: 'string', short: 'l' },
        namespace: { type: 'string' },
        root: { type: 'string' },
        state: { type: 'string' },
        topic: { type: 'string' },
        version: { type: 'boolean', short: 'v' },
      },
    });
  } catch (error) {
    throw new TsError('InvalidArgument', (error as Error).message, {
      cause: error,
      advice: 'see tscontainerd --help',
    });
  }
}

function commandOf(
  values: { help?: boolean; version?: boolean },
  positionals: readonly string[],
): Arguments['command'] {
  if (values.help === true) return 'help';
  if (values.version === true) return 'version';
  const words = positionals.join(' ');
  if (words.startsWith('config explain ') && positionals.length === 3) return 'config explain';
  if (words === '') return 'serve';
  const command = COMMANDS.find((candidate) => candidate === words);
  if (command !== undefined) return command;
  throw new TsError('InvalidArgument', `no command "${words}"`, {
    advice: 'see tscontainerd --help',
  });
}
