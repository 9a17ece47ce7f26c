/**
 * `delete`: the daemon calls it when a shim is gone, whatever the reason, to have nothing left of
 * its container: processes, state of the runtime, mounts, the socket.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DeleteResponse } from '../api/generated/containerd.task.v3.ts';
import { nowNs, timestampFromNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import { mayHaveContainer, readBundleFiles, readInitPid } from './bundle-files.ts';
import { ChildRegistry } from './command.ts';
import { unmountRootfs } from './rootfs.ts';
import { programFor } from './runtime-for.ts';
import type { ShimFlags } from './shim-flags.ts';
import { pathOfAddress } from './socket-address.ts';
import { isShimListening, lockSocketDirectory } from './socket-probe.ts';

/** 128 + SIGKILL: how the container's process ends here if it has not ended before. */
const KILLED = 137;

/** Cleans up what it can; `warn` hears of the rest. Returns the bytes for stdout. */
export async function deleteContainer(
  flags: ShimFlags,
  warn: (text: string) => void,
): Promise<Uint8Array> {
  const bundle = bundleOf(flags);
  const attempt = async (step: () => unknown): Promise<void> => {
    try {
      await step();
    } catch (thrown) {
      warn(TsError.from(thrown).text);
    }
  };
  const pid = readInitPid(bundle);
  await attempt(async () => {
    if (!mayHaveContainer(bundle)) return; // the usual case: the shim has left in good order
    const options = readBundleFiles(bundle);
    const container = { bundle, namespace: flags.namespace, isDebug: flags.isDebug };
    const runtime = programFor(options, container, new ChildRegistry());
    await runtime.delete(flags.id, { force: true });
  });
  await attempt(() => unmountRootfs(join(bundle, 'rootfs')));
  await attempt(() => removeDeadSocket(bundle));
  return DeleteResponse.encode({
    pid,
    exitStatus: KILLED,
    exitedAt: timestampFromNs(nowNs()),
  });
}

/** A shim of several tasks may serve the others still: then its socket stays. */
async function removeDeadSocket(bundle: string): Promise<void> {
  const file = join(bundle, 'address');
  if (!existsSync(file)) return;
  const path = pathOfAddress(readFileSync(file, 'utf8').trim());
  if (!existsSync(path)) return;
  using _lock = lockSocketDirectory(path);
  await isShimListening(path);
}

/** The directory of the daemon's flag; without it the sibling of the working directory for this id. */
function bundleOf(flags: ShimFlags): string {
  if (flags.bundle !== '') return flags.bundle;
  return join(dirname(process.cwd()), flags.id);
}
