/**
 * Mounts and unmounts root file systems whose parts may never answer (see {@link MountTable}): a
 * child in the shim's own mount namespace does it. When it hangs, the request is given up, not the
 * shim.
 */
import type { Mount } from '../api/generated/containerd.types.ts';
import { TsError } from '../errors/index.ts';
import {
  adopt,
  exitOf,
  kill,
  type Operation,
  Pipe,
  readable,
  type Sequence,
  SyscallProgram,
  steps,
} from '../linux/index.ts';
import { makeRootfs, mountPointsBelow, planRootfs } from './rootfs.ts';

const SIGKILL = 9;
/** How long a killed child may take to die: one that waits for a server may take for ever. */
const DEATH_MS = 2_000;

/** As mountRootfs. */
export function* mountRootfsByChild(rootfs: string, mounts: readonly Mount[]): Operation<void> {
  makeRootfs(rootfs);
  try {
    yield* inChild((child) => {
      for (const { request, directory } of planRootfs(rootfs, mounts)) {
        if (directory !== undefined) child.add(steps.changeDirectory(directory));
        const { source = null, target, type = null, flags = [], data = null } = request;
        const object = type ?? source;
        const label = object === null ? `change mount ${target}` : `mount ${object} on ${target}`;
        child.add(steps.mount({ source, target, type, flags, data }), { label });
      }
    });
  } catch (thrown) {
    const error = TsError.from(thrown);
    try {
      yield* unmountRootfsByChild(rootfs);
    } catch (failure) {
      error.cleanup.push(TsError.from(failure));
    }
    throw error;
  }
}

/** As unmountRootfs: the end of a mount may have to wait for the server that has its files. */
export function* unmountRootfsByChild(rootfs: string): Operation<void> {
  const points = mountPointsBelow(rootfs).reverse();
  if (points.length === 0) return;
  yield* inChild((child) => {
    for (const point of points) {
      child.add(steps.unmount(point, ['MNT_DETACH', 'UMOUNT_NOFOLLOW']), { tolerate: ['EINVAL'] });
    }
  });
}

/** Runs steps in a clone of this process, to its end. Throws what fails there. */
function* inChild(build: (child: Sequence) => void): Operation<void> {
  using report = new Pipe();
  const program = new SyscallProgram();
  const options = { reportTo: report.writeEnd.number, as: 'mounter' };
  const pid = program.main.clone(steps.cloneProcess({}), options, (child) => {
    child.add(steps.setParentDeathSignal('SIGKILL'));
    build(child);
  });
  using run = program.run();
  report.writeEnd.close();
  const mounter = run.value(pid);
  const isOurs = yield* adopt(mounter);
  try {
    yield* readable(report.readEnd.number);
    program.readReport(report.readEnd.number);
  } finally {
    if (isOurs) {
      kill(mounter, SIGKILL); // it has ended, unless the operation was given up
      yield* exitOf(mounter, DEATH_MS);
    }
  }
}
