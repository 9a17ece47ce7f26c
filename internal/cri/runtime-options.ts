import { stringify } from 'smol-toml';
import { type AnyMessage, packAny } from '../api/any.ts';
import { Options as RuncOptions } from '../api/generated/containerd.runc.v1.ts';
import { Options as GenericOptions } from '../api/generated/runtimeoptions.v1.ts';
import type { RuntimeHandlerConfig } from './cri-config.ts';

const RUNC_TYPES: ReadonlySet<string> = new Set(['io.containerd.runc.v2', 'io.containerd.runc.v1']);

/** Options of a runtime's table as its shim reads them: runc's have a message, all others come as the table's text. */
export function packRuntimeOptions({
  type,
  options,
}: RuntimeHandlerConfig): AnyMessage | undefined {
  if (Object.keys(options).length === 0) return undefined;
  if (!RUNC_TYPES.has(type)) {
    return packAny(GenericOptions, {
      typeUrl: RuncOptions.typeName,
      configBody: Buffer.from(stringify(options)),
    });
  }
  return packAny(RuncOptions, runcOptions(options));
}

/**
 * Options by which a shim makes a container from CRIU's images in `imagesPath`, with CRIU's log in `workPath`. They are in runc's message, whatever the
 * runtime: the daemon itself reads the path. `InProcess` is not in it: restoring is the runtime program's work in any case.
 */
export function packRestoreOptions(
  { options }: RuntimeHandlerConfig,
  { imagesPath, workPath }: { readonly imagesPath: string; readonly workPath: string },
): AnyMessage {
  return packAny(RuncOptions, {
    ...runcOptions(options),
    criuImagePath: imagesPath,
    criuWorkPath: workPath,
  });
}

function runcOptions(options: RuntimeHandlerConfig['options']): Partial<RuncOptions> {
  const fields = Object.entries(options).map(([key, value]) => [
    `${key.charAt(0).toLowerCase()}${key.slice(1)}`,
    value,
  ]);
  return Object.fromEntries(fields) as Partial<RuncOptions>;
}

/** Whether a runtime's containers are put into cgroups by systemd. */
export function isSystemdCgroup({ options }: RuntimeHandlerConfig): boolean {
  return options['SystemdCgroup'] === true;
}
