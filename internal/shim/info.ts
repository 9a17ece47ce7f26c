import type { AnyMessage } from '../api/any.ts';
import { RuntimeInfo } from '../api/generated/containerd.types.ts';
import { Any } from '../api/generated/google.protobuf.ts';
import { ChildRegistry } from './command.ts';
import { programFor } from './runtime-for.ts';
import { parseRuntimeOptions } from './runtime-options.ts';

const FEATURES_URL = 'types.containerd.io/opencontainers/runtime-spec/1/features/Features';

/**
 * `-info`: what this shim and the runtime of the options on stdin can do, as the bytes of a
 * RuntimeInfo.
 */
export async function runtimeInfo(
  stdin: Uint8Array,
  version: { name: string; version: string; revision: string },
): Promise<Uint8Array> {
  const options = stdin.length === 0 ? undefined : Any.decode(stdin);
  const parsed = await parseRuntimeOptions(options);
  const bundle = process.cwd();
  const container = { bundle, namespace: '', isDebug: false };
  const features = await programFor(parsed, container, new ChildRegistry()).features();
  const { name, ...numbers } = version;
  return RuntimeInfo.encode({
    name,
    version: numbers,
    options,
    features: features === undefined ? undefined : featuresAny(features),
  });
}

function featuresAny(json: string): AnyMessage {
  return { typeUrl: FEATURES_URL, value: Buffer.from(json) };
}
