import { Errno } from '../errors/index.ts';
import { check, type Sequence, steps, type Value } from '../linux/index.ts';
import { DEFAULT_SYMLINKS, type PlannedDevice } from './device-plan.ts';
import { ensureDirectory, ensureFile, nameOf, openStep, sharedResult } from './in-root.ts';

/**
 * Makes device nodes. Where mknod is not permitted (a user namespace, no CAP_MKNOD) the host's node
 * of the same path is bound instead, so this must run before the root is changed.
 */
export function addDevices(
  sequence: Sequence,
  root: Value,
  devices: readonly PlannedDevice[],
  { mayMakeNodes }: { mayMakeNodes: boolean },
): void {
  const byDirectory = new Map<string, PlannedDevice[]>();
  for (const device of devices) {
    const list = byDirectory.get(device.directory);
    if (list === undefined) byDirectory.set(device.directory, [device]);
    else list.push(device);
  }
  for (const [path, list] of byDirectory) {
    const directory = ensureDirectory(sequence, root, path, { purpose: 'make devices' });
    for (const device of list) addDevice(sequence, root, directory, device, mayMakeNodes);
    sequence.add(steps.close(directory));
  }
}

function addDevice(
  sequence: Sequence,
  root: Value,
  directory: Value,
  device: PlannedDevice,
  mayMakeNodes: boolean,
): void {
  const { path, name, type, mode, major, minor, uid, gid, isOnFreshMount } = device;
  const label = `make device ${path}`;
  const made = sharedResult(`made ${path}`);
  const chown = steps.chown({ directory, path: name, uid, gid });
  const step = steps.makeNode({ directory, path: name, type, mode, major, minor });
  const isOwned = uid !== 0 || gid !== 0;
  if (mayMakeNodes && isOnFreshMount) {
    sequence.add(step, { label });
    if (isOwned) sequence.add(chown, { label });
    return;
  }
  sequence.add(step, {
    label,
    into: made.field,
    tolerate: ['EEXIST', 'EPERM'],
    ...(isOwned ? { ifSucceeded: (next) => void next.add(chown, { label }) } : {}),
    ifTolerated: (refused) => {
      refused.add(check(label, made, { equals: -Errno.EPERM, errno: 'EEXIST' }), {
        tolerate: 'EEXIST',
        ifSucceeded: (next) => bindFromHost(next, root, path),
        ifTolerated: (next) => checkExisting(next, root, device),
      });
    },
  });
}

function bindFromHost(sequence: Sequence, root: Value, path: string): void {
  const purpose = `bind device ${path}`;
  const tree = sequence.add(
    steps.openTree({ path, flags: ['OPEN_TREE_CLONE', 'OPEN_TREE_CLOEXEC'] }),
    { label: purpose },
  );
  const target = ensureFile(sequence, root, path, { purpose, withoutSymlinks: true });
  sequence.add(steps.moveMount({ from: tree, to: target }), { label: purpose });
  sequence.add(steps.close(target));
  sequence.add(steps.close(tree));
}

/**
 * Attack: an image with a /dev/null that is a symlink or another device (CVE-2025-31133, crun
 * CVE-2026-88265). A node that is there already must be the one that was to be made.
 */
function checkExisting(sequence: Sequence, root: Value, device: PlannedDevice): void {
  const { path, type, major, minor } = device;
  const label = `make device ${path}: open what is there`;
  const fd = sequence.add(openStep(root, path, ['O_PATH', 'O_NOFOLLOW'], true), { label });
  if (type === 'S_IFIFO') steps.checkFileType(sequence, fd, type, path);
  else steps.checkDevice(sequence, fd, { type, major, minor }, path);
  sequence.add(steps.close(fd));
}

/** The symlinks of runtime-spec config-linux.md#dev-symbolic-links, and /dev/ptmx. */
export function addDevSymlinks(
  sequence: Sequence,
  root: Value,
  { hasKcore }: { hasKcore: boolean },
): void {
  const dev = ensureDirectory(sequence, root, '/dev', { purpose: 'make symlinks in /dev' });
  const links = [...DEFAULT_SYMLINKS, ...(hasKcore ? [['/proc/kcore', '/dev/core'] as const] : [])];
  for (const [target, path] of links) {
    sequence.add(steps.makeSymlink(target, nameOf(path), dev), {
      label: `make symlink ${path}`,
      tolerate: 'EEXIST',
    });
  }
  sequence.add(steps.unlink('ptmx', { directory: dev }), {
    label: 'replace /dev/ptmx',
    tolerate: 'ENOENT',
  });
  sequence.add(steps.makeSymlink('pts/ptmx', 'ptmx', dev), { label: 'make symlink /dev/ptmx' });
  sequence.add(steps.close(dev));
}
