import { posix } from 'node:path';
import { TsError } from '../errors/index.ts';
import { type CgroupFiles, kernelCgroupFiles } from './cgroup-files.ts';
import { hasErrno } from './cgroup-tree.ts';

/**
 * Hands every controller from the top of the tree down to the children of `parent`.
 *
 * A controller that cannot be enabled (EBUSY: a cgroup on the way has processes of its own; kernel
 * Documentation/admin-guide/cgroup-v2.rst, No Internal Process Constraint) is left out: only a limit
 * that needs it is an error, and the file it would be written to is then missing.
 */
export function enableControllers(files: CgroupFiles, parent: string): void {
  if (!files.exists(`${parent}/cgroup.controllers`)) return; // above the top of the tree
  enableControllers(files, posix.dirname(parent));
  const control = `${parent}/cgroup.subtree_control`;
  const enabled = words(files.read(control));
  const missing = words(files.read(`${parent}/cgroup.controllers`)).filter(
    (controller) => !enabled.includes(controller),
  );
  if (missing.length === 0) return;
  try {
    files.write(control, missing.map((controller) => `+${controller}`).join(' '));
  } catch (thrown) {
    if (!isRefusal(thrown)) throw thrown;
    for (const controller of missing) tryEnable(files, control, controller);
  }
}

/**
 * Whether a cgroup hands controllers down, and so takes no processes (No Internal Process Constraint): a write to its
 * cgroup.procs and a clone into it fail with EBUSY.
 */
export function hasInnerCgroups(
  directory: string,
  files: CgroupFiles = kernelCgroupFiles,
): boolean {
  return words(files.tryRead(`${directory}/cgroup.subtree_control`) ?? '').length > 0;
}

function tryEnable(files: CgroupFiles, control: string, controller: string): void {
  try {
    files.write(control, `+${controller}`);
  } catch (thrown) {
    if (!isRefusal(thrown)) throw TsError.from(thrown);
  }
}

function isRefusal(thrown: unknown): boolean {
  return hasErrno(thrown, 'EBUSY', 'EINVAL', 'ENOENT', 'EOPNOTSUPP', 'ENOTSUP', 'EACCES', 'EPERM');
}

function words(text: string): string[] {
  return text.split(' ').filter(Boolean);
}
