/**
 * The command line of a shim (containerd pkg/shim/shim.go), parsed as Go's flag package does: one
 * dash or two, `-flag value` or `-flag=value`, switches without a value, flags end at the first
 * argument that is none or after `--`.
 */
import type { ShimFlags } from '../../internal/shim/shim-flags.ts';

export type Verb = 'serve' | 'spare' | 'start' | 'delete' | 'info' | 'version';

export interface Arguments {
  readonly verb: Verb;
  readonly flags: ShimFlags;
}

const VALUES = [
  'namespace',
  'id',
  'address',
  'bundle',
  'socket',
  'debug-socket',
  'publish-binary',
] as const;
const SWITCHES = ['debug', 'info', 'v', 'version'] as const;

const TRUE = new Set(['1', 't', 'T', 'true', 'TRUE', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'false', 'FALSE', 'False']);

export const USAGE = `Usage: containerd-shim-tsrunc-v2 -namespace NS -id ID -address ADDRESS [flags] start|delete
       containerd-shim-tsrunc-v2 -v | -info

  -namespace NS      containerd namespace of the task
  -id ID             id of the task
  -address ADDRESS   gRPC address of the daemon
  -bundle PATH       bundle of the task (delete)
  -socket ADDRESS    socket to serve instead of the group's
  -debug             debug lines in the log
  -publish-binary, -debug-socket
                     accepted and not used
`;

/** Throws an Error with a sentence for the user. */
export function parseArguments(args: readonly string[]): Arguments {
  const values = new Map<string, string>();
  const switches = new Set<string>();
  let index = 0;
  for (; index < args.length; index++) {
    const arg = args[index] ?? '';
    if (arg === '--') {
      index++;
      break;
    }
    const match = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(arg);
    if (match === null) break;
    const [, name = '', inline] = match;
    if (isOneOf(SWITCHES, name)) {
      if (readSwitch(name, inline)) switches.add(name);
      else switches.delete(name);
    } else if (isOneOf(VALUES, name)) {
      const value = inline ?? args[++index];
      if (value === undefined) throw new Error(`flag needs an argument: -${name}`);
      values.set(name, value);
    } else {
      throw new Error(`flag provided but not defined: -${name}`);
    }
  }
  const verb = verbOf(args.slice(index), switches);
  const flags: ShimFlags = {
    namespace: values.get('namespace') ?? '',
    id: values.get('id') ?? '',
    address: values.get('address') ?? '',
    bundle: values.get('bundle') ?? '',
    socket: values.get('socket') ?? '',
    isDebug: switches.has('debug'),
  };
  // A spare hears later what it is to be.
  if (verb !== 'version' && verb !== 'info' && verb !== 'spare') {
    if (flags.namespace === '') throw new Error('shim namespace cannot be empty');
    if (flags.id === '') throw new Error('shim id cannot be empty');
  }
  return { verb, flags };
}

function verbOf(rest: readonly string[], switches: ReadonlySet<string>): Verb {
  if (switches.has('v') || switches.has('version')) return 'version';
  if (switches.has('info')) return 'info';
  const [verb, ...more] = rest;
  if (verb === undefined) return 'serve';
  if (more.length === 0 && (verb === 'start' || verb === 'delete')) return verb;
  // Behind it is room for the arguments of the shim that the process becomes.
  if (verb === 'spare' && more.every((text) => text.trim() === '')) return verb;
  throw new Error(`unknown command: ${rest.join(' ')}`);
}

function readSwitch(name: string, value: string | undefined): boolean {
  if (value === undefined || TRUE.has(value)) return true;
  if (FALSE.has(value)) return false;
  throw new Error(`invalid boolean value ${JSON.stringify(value)} for -${name}`);
}

function isOneOf<T extends string>(names: readonly T[], name: string): name is T {
  return (names as readonly string[]).includes(name);
}
