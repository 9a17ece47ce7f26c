import { parseArgs } from 'node:util';
import { TsError } from '../../internal/errors/index.ts';
import type { ConfigLayer } from '../../internal/server/config.ts';

export const USAGE = `tscontainerd - container daemon with the containerd API

Usage: tscontainerd [flags]                 serve
       tscontainerd [flags] config default  print the default configuration
       tscontainerd [flags] config dump     print the configuration in effect
       tscontainerd [flags] publish --namespace NS --topic TOPIC  publish an event from stdin

Flags:
  -c, --config FILE      configuration (default /etc/containerd/config.toml, if it is there)
  -a, --address SOCKET   socket of the API
      --root DIR         persistent data
      --state DIR        data of running containers
  -l, --log-level LEVEL  trace, debug, info, warn, error, fatal
  -v, --version          print the version
  -h, --help             print this`;

/** What the command line asks for. */
export interface Arguments {
  readonly command: 'serve' | 'config default' | 'config dump' | 'publish' | 'version' | 'help';
  /** The file of --config, or undefined when the default one is meant. */
  readonly configPath: string | undefined;
  readonly overrides: ConfigLayer;
  readonly namespace: string;
  readonly topic: string;
}

/** Parses the command line; what it does not know is InvalidArgument. */
export function parseArguments(argv: readonly string[]): Arguments {
  const { values, positionals } = parse(argv);
  const { root, state, address } = values;
  const level = values['log-level'];
  return {
    command: commandOf(values, positionals),
    configPath: values.config,
    overrides: {
      ...(root === undefined ? {} : { root }),
      ...(state === undefined ? {} : { state }),
      ...(address === undefined ? {} : { grpc: { address } }),
      ...(level === undefined ? {} : { debug: { level } }),
    },
    namespace: values.namespace ?? '',
    topic: values.topic ?? '',
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
  const command = positionals.join(' ');
  switch (command) {
    case '':
      return 'serve';
    case 'config default':
    case 'config dump':
    case 'publish':
      return command;
    default:
      throw new TsError('InvalidArgument', `no command "${command}"`, {
        advice: 'see tscontainerd --help',
      });
  }
}
