// The face of the client: one command line of ctr's kind, over the socket of any containerd.
import { errorText } from '../errors/error-text.ts';
import { TsError } from '../errors/index.ts';
import { type FlagValues, UsageError } from '../flags/flag-parser.ts';
import { Client, type ClientOptions } from './client.ts';
import type { Program } from './command.ts';
import { COMMANDS } from './command-table.ts';
import { completionCandidates } from './completion.ts';
import { type Invocation, parseCommandLine, UnknownCommand } from './invocation.ts';
import { inOtherNamespaces } from './namespace-hint.ts';
import { Output, type OutputFormat } from './output.ts';

/** Exit code of any error. */
const FAILURE = 1;
/** Exit code for a command that is not there, as urfave/cli has it. */
const NO_COMMAND = 3;

/** The word by which the completion scripts ask. */
const COMPLETE = '__complete';

/** Runs one command line and returns its exit code; nothing is thrown. */
export async function runClient(argv: readonly string[], program: Program): Promise<number> {
  process.stdout.on('error', endQuietly);
  try {
    if (argv[0] === COMPLETE) return await complete(argv.slice(1));
    const invocation = parseCommandLine(argv, COMMANDS, program);
    if (typeof invocation === 'string') {
      process.stdout.write(invocation);
      return 0;
    }
    return await run(invocation, program);
  } catch (thrown) {
    if (thrown instanceof UnknownCommand) {
      process.stderr.write(`tsctr: ${thrown.message}\n`);
      return NO_COMMAND;
    }
    const isUsage = thrown instanceof UsageError;
    process.stderr.write(`tsctr: ${isUsage ? thrown.message : errorText(TsError.from(thrown))}\n`);
    return FAILURE;
  }
}

async function run({ command, flags, args }: Invocation, program: Program): Promise<number> {
  using client = new Client(clientOptions(flags), new AbortController().signal);
  const output = new Output(outputFormat(flags));
  const namespace = client.options.namespace;
  try {
    if (command.isLocal !== true) await client.probe();
    let code = 0;
    const exitWith = (value: number): void => {
      code = value;
    };
    await command.run({ flags, args, client, namespace, output, program, exitWith });
    return code;
  } catch (thrown) {
    const error = TsError.from(thrown);
    if (flags.bool('debug')) process.stderr.write(`${error.stack ?? ''}\n`);
    throw error.kind === 'NotFound' ? await inOtherNamespaces(error, client, command, args) : error;
  }
}

/** Completion must not disturb the shell: what goes wrong leaves no candidates. */
async function complete(words: readonly string[]): Promise<number> {
  const candidates = await completionCandidates(COMMANDS, words, (flags) => {
    return new Client({ ...clientOptions(flags), timeoutMs: 2000 }, new AbortController().signal);
  });
  process.stdout.write(candidates.map((each) => `${each}\n`).join(''));
  return 0;
}

function clientOptions(flags: FlagValues): ClientOptions {
  const { CONTAINERD_ADDRESS: address, CONTAINERD_NAMESPACE: namespace } = process.env;
  return {
    address: flags.string('address') ?? (address || '/run/containerd/containerd.sock'),
    namespace: flags.string('namespace') ?? (namespace || 'default'),
    timeoutMs: flags.number('timeout') ?? 0,
    connectTimeoutMs: flags.number('connect-timeout') ?? 0,
  };
}

function outputFormat(flags: FlagValues): OutputFormat {
  const format = flags.string('format') ?? 'table';
  if (format === 'json' || format === 'table') return format;
  throw new UsageError(`format must be "table" or "json", not ${JSON.stringify(format)}`);
}

/** A reader that has seen enough, such as `head`, is no error. */
function endQuietly(error: NodeJS.ErrnoException): void {
  process.exit(error.code === 'EPIPE' ? 0 : FAILURE);
}
