import { type AnyMessage, packAny } from '../api/any.ts';
import { Options as RuncOptions } from '../api/generated/containerd.runc.v1.ts';
import { Options as OtherOptions } from '../api/generated/runtimeoptions.v1.ts';
import { TsError } from '../errors/index.ts';
import type { FlagSpecs, FlagValues } from '../flags/flag-parser.ts';

/** The runtime of a container that names none, as with ctr. */
export const RUNC = 'io.containerd.runc.v2';

/** Which runtime a container has, and how it is set up. */
export const RUNTIME_FLAGS: FlagSpecs = {
  runtime: { type: 'string', default: RUNC, usage: 'name of the runtime, or the path of its shim' },
  'runtime-config-path': {
    type: 'string',
    usage: 'configuration file of a runtime other than runc',
  },
  'runc-binary': { type: 'string', usage: 'program that the shim runs in place of runc' },
  'runc-root': { type: 'string', usage: "directory of runc's state" },
  'runc-systemd-cgroup': { type: 'bool', usage: 'make cgroups by systemd' },
};

/** A runtime by name, with the options that its shim gets. */
export interface RuntimeChoice {
  readonly name: string;
  readonly options: AnyMessage | undefined;
}

/** What the flags say. The shims of runc and of this project take runc's options, any other those of its file. */
export function runtimeOptions(flags: FlagValues, isPivotless = false): RuntimeChoice {
  const name = flags.string('runtime') ?? RUNC;
  const file = flags.string('runtime-config-path');
  const takesRunc = name === RUNC || name === 'io.containerd.tsrunc.v2' || name.startsWith('/');
  const binaryName = flags.string('runc-binary');
  const root = flags.string('runc-root');
  const hasRunc = binaryName !== undefined || root !== undefined || isPivotless;
  if (!takesRunc || file !== undefined) {
    if (flags.bool('runc-systemd-cgroup') || hasRunc) {
      throw new TsError('InvalidArgument', `runtime ${name}: options of runc are not for it`, {
        advice: 'leave out the flags --runc-…, or --runtime and --runtime-config-path',
      });
    }
    if (file === undefined) return { name, options: undefined };
    return { name, options: packAny(OtherOptions, { configPath: file }) };
  }
  if (name.startsWith('/') && !hasRunc && !flags.bool('runc-systemd-cgroup')) {
    return { name, options: undefined };
  }
  return {
    name,
    options: packAny(RuncOptions, {
      binaryName: binaryName ?? '',
      root: root ?? '',
      systemdCgroup: flags.bool('runc-systemd-cgroup'),
      noPivotRoot: isPivotless,
    }),
  };
}
