import type { AnyMessage } from '../api/any.ts';
import { Options } from '../api/generated/containerd.runc.v1.ts';
import { Options as GenericOptions } from '../api/generated/runtimeoptions.v1.ts';
import { TsError } from '../errors/index.ts';

/** The runtime that is executed unless the options name another; looked up on PATH. */
export const DEFAULT_BINARY = 'tsrunc';

/** Below it, a directory for each namespace is the runtime's `--root`. */
export const DEFAULT_ROOT = '/run/containerd/tsrunc';

/** runc's options, and ours. */
export interface TaskOptions extends Options {
  /**
   * The shim runs tsrunc's code itself. runc's message has no such field: it comes in the generic
   * one, as a key of the TOML table.
   */
  readonly inProcess: boolean;
}

/**
 * The options of a task: runc's message as it is, or the generic one that the CRI plugin sends to
 * runtimes that it does not know, with the TOML table of containerd's configuration in its body.
 *
 * Throws InvalidArgument on another message, and on a key that does not exist or has the wrong type.
 */
export async function parseRuntimeOptions(any: AnyMessage | undefined): Promise<TaskOptions> {
  if (any === undefined || any.typeUrl === '') return { ...Options.create(), inProcess: false };
  const name = any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1);
  if (name === Options.typeName) return { ...Options.decode(any.value), inProcess: false };
  if (name !== GenericOptions.typeName) {
    throw new TsError('Unknown', `runtime options: unsupported message ${any.typeUrl}`);
  }
  const generic = GenericOptions.decode(any.value);
  if (generic.configBody.length > 0) {
    return optionsFromToml(Buffer.from(generic.configBody).toString());
  }
  if (generic.configPath !== '') {
    const { readFile } = await import('node:fs/promises');
    return optionsFromToml(await readFile(generic.configPath, 'utf8'));
  }
  return { ...Options.create(), inProcess: false };
}

const KEYS = {
  NoPivotRoot: ['noPivotRoot', 'boolean'],
  NoNewKeyring: ['noNewKeyring', 'boolean'],
  ShimCgroup: ['shimCgroup', 'string'],
  IoUid: ['ioUid', 'number'],
  IoGid: ['ioGid', 'number'],
  BinaryName: ['binaryName', 'string'],
  Root: ['root', 'string'],
  SystemdCgroup: ['systemdCgroup', 'boolean'],
  CriuImagePath: ['criuImagePath', 'string'],
  CriuWorkPath: ['criuWorkPath', 'string'],
  TaskApiAddress: ['taskApiAddress', 'string'],
  TaskApiVersion: ['taskApiVersion', 'number'],
  InProcess: ['inProcess', 'boolean'],
} as const satisfies Record<string, readonly [keyof TaskOptions, string]>;

/** CriuPath was an option of old runtimes; it is accepted, as runc finds CRIU by itself. */
const IGNORED = new Set(['CriuPath']);

/** Options in the spelling of containerd's config.toml. */
export async function optionsFromToml(text: string): Promise<TaskOptions> {
  const { parse } = await import('smol-toml');
  let table: Record<string, unknown>;
  try {
    table = parse(text);
  } catch (cause) {
    throw new TsError('InvalidArgument', `runtime options: ${(cause as Error).message}`, { cause });
  }
  const options: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(table)) {
    if (IGNORED.has(key)) continue;
    const known = Object.hasOwn(KEYS, key) ? KEYS[key as keyof typeof KEYS] : undefined;
    if (known === undefined) {
      throw new TsError('InvalidArgument', `runtime options: unknown key ${key}`, {
        code: 'TS_RUNTIME_OPTION',
        advice: `use one of ${Object.keys(KEYS).join(', ')}`,
      });
    }
    const [field, type] = known;
    const isWrong =
      typeof value !== type || (type === 'number' && !Number.isSafeInteger(value as number));
    if (isWrong) {
      throw new TsError('InvalidArgument', `runtime options: ${key} is not a ${type}`);
    }
    options[field] = value;
  }
  const { inProcess = false, ...others } = options;
  return { ...Options.create(others), inProcess: inProcess === true };
}
