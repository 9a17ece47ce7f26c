/** The root file system as a whole: bound, changed to, then made safe. */

import {
  type MountFlag,
  type Result,
  type Sequence,
  type Step,
  steps,
  type Value,
} from '../linux/index.ts';
import type { RootfsPropagation } from '../oci/index.ts';
import { normalizePath, openStep, sharedResult } from './in-root.ts';
import type { MaskedPath } from './mask-plan.ts';
import { emptyFileSystem } from './mount-steps.ts';

type PropagationFlag = Extract<
  MountFlag,
  'MS_PRIVATE' | 'MS_SLAVE' | 'MS_SHARED' | 'MS_UNBINDABLE'
>;

const PROPAGATION_FLAGS: Readonly<Record<string, PropagationFlag>> = {
  private: 'MS_PRIVATE',
  slave: 'MS_SLAVE',
  shared: 'MS_SHARED',
  unbindable: 'MS_UNBINDABLE',
};

/** `rootfsPropagation` as flags of mount(2); the plain names are recursive too, as with runc. */
export function propagationFlags(propagation: RootfsPropagation): MountFlag[] {
  const name = propagation.startsWith('r') ? propagation.slice(1) : propagation;
  const isRecursive = propagation.startsWith('r') || propagation !== 'unbindable';
  return [PROPAGATION_FLAGS[name] ?? 'MS_SLAVE', ...(isRecursive ? (['MS_REC'] as const) : [])];
}

/** Propagation of the container's own root, which may be shared only once it is a mount of its own. */
export function* rootPropagationSteps(propagation: RootfsPropagation): Generator<Step> {
  const flags = propagationFlags(propagation);
  if (flags.includes('MS_PRIVATE')) return; // it is already
  yield steps.mount({ source: '', target: '/', flags });
}

export interface RootfsOptions {
  readonly rootfs: string;
  readonly propagation: RootfsPropagation | undefined;
  /** Mount point that has the rootfs, where the root is to be shared: it must not get our mounts. */
  readonly sharedParent: string | undefined;
  /** Detached copy of the rootfs mount that the runtime opened itself. */
  readonly rootfsFd: number | undefined;
}

/**
 * Cuts this mount namespace off from the host's and binds the rootfs, so that it is a mount. Returns
 * its fd, the one way into the rootfs for everything that follows.
 */
export function addPrepareRootfs(sequence: Sequence, options: RootfsOptions): Result | number {
  const { rootfs, propagation, sharedParent, rootfsFd } = options;
  // A root to be shared must not be cut off, so that mounts below it can stay shared with the host.
  // What is unbindable cannot be bound: the root becomes so at the end.
  const first =
    propagation === undefined || /unbindable$/.test(propagation) ? 'slave' : propagation;
  const flags = propagationFlags(first);
  sequence.add(steps.mount({ source: '', target: '/', flags }), {
    label: 'cut mount propagation to the host',
  });
  if (sharedParent !== undefined) {
    sequence.add(steps.mount({ source: '', target: sharedParent, flags: ['MS_PRIVATE'] }));
  }
  const label = `bind rootfs ${rootfs}`;
  const tree =
    rootfsFd ??
    sequence.add(
      steps.openTree({
        path: rootfs,
        flags: ['OPEN_TREE_CLONE', 'OPEN_TREE_CLOEXEC', 'AT_RECURSIVE'],
      }),
      { label, as: 'root' },
    );
  const toPath = rootfsFd === undefined ? rootfs : '/';
  sequence.add(steps.moveMount({ from: tree, toPath }), { label });
  return tree;
}

/**
 * pivot_root(2) into the rootfs; the old root is unmounted and cannot be reached any more.
 *
 * The old root ends up stacked on the new one. It is unmounted through an fd of its own: `.` would
 * be the new root for mount(2), though not for umount2(2).
 */
export function addPivotRoot(sequence: Sequence, root: Value): void {
  const oldRoot = sequence.add(steps.open({ path: '/', flags: ['O_PATH', 'O_DIRECTORY'] }), {
    label: 'open the old root',
    as: 'old_root',
  });
  sequence.add(steps.changeDirectoryToFd(root), { label: 'chdir to the rootfs' });
  sequence.add(steps.pivotRoot('.', '.'), { label: 'pivot_root to the rootfs' });
  sequence.add(steps.changeDirectoryToFd(oldRoot), { label: 'chdir to the old root' });
  // What is unmounted here must not be unmounted on the host.
  sequence.add(steps.mount({ source: '', target: '.', flags: ['MS_SLAVE', 'MS_REC'] }), {
    label: 'cut mount propagation of the old root',
  });
  sequence.add(steps.unmount('.', ['MNT_DETACH']), { label: 'unmount the old root' });
  sequence.add(steps.close(oldRoot));
  sequence.add(steps.changeDirectory('/'));
}

/** `--no-pivot`: for a rootfs on the initial ramfs, which pivot_root refuses. */
export function addMoveRoot(sequence: Sequence, root: Value): void {
  sequence.add(steps.changeDirectoryToFd(root), { label: 'chdir to the rootfs' });
  sequence.add(steps.mount({ source: '.', target: '/', flags: ['MS_MOVE'] }), {
    label: 'move the rootfs to /',
  });
  sequence.add(steps.changeRoot('.'));
  sequence.add(steps.changeDirectory('/'));
}

/**
 * Hides `paths`; those that are not there need no hiding.
 *
 * Attack: an image whose /dev/null is a symlink, so that "masking" binds what it likes over kernel
 * files, or leaves them open (CVE-2025-31133). The mask is the host's own node, checked by fd, so
 * this runs before the root is changed; directories get an empty read-only tmpfs.
 */
export function addMasks(sequence: Sequence, root: Value, paths: readonly MaskedPath[]): void {
  if (paths.length === 0) return;
  const nothing = sequence.add(steps.open({ path: '/dev/null', flags: ['O_PATH'] }));
  steps.checkDevice(sequence, nothing, { type: 'S_IFCHR', major: 1, minor: 3 }, '/dev/null');
  for (const { path, kind } of paths) {
    const label = `mask ${path}`;
    const target = sharedResult('target');
    const open = { label, into: target.field };
    const maybe = { ...open, tolerate: ['ENOENT', 'ENOTDIR'] } as const;
    const directory = openStep(root, path, ['O_PATH', 'O_DIRECTORY']);
    const file = openStep(root, path, ['O_PATH']);
    const coverDirectory = (next: Sequence): void => maskDirectory(next, target, label);
    const coverFile = (next: Sequence): void => maskFile(next, nothing, target, label);
    if (kind === 'directory') {
      sequence.add(directory, open);
      coverDirectory(sequence);
    } else if (kind === 'file') {
      sequence.add(file, open);
      coverFile(sequence);
    } else {
      sequence.add(directory, {
        ...maybe,
        ifSucceeded: coverDirectory,
        ifTolerated: (next) => void next.add(file, { ...maybe, ifSucceeded: coverFile }),
      });
    }
  }
  sequence.add(steps.close(nothing));
}

function maskDirectory(sequence: Sequence, target: Value, label: string): void {
  attachAndClose(sequence, emptyFileSystem(sequence, label), target, label);
}

/** Read-only, or root in the container could change the mode of the host's node. */
function maskFile(sequence: Sequence, nothing: Value, target: Value, label: string): void {
  const flags = ['OPEN_TREE_CLONE', 'OPEN_TREE_CLOEXEC', 'AT_EMPTY_PATH'] as const;
  const copy = sequence.add(steps.openTree({ directory: nothing, path: '', flags }), { label });
  const change = { set: ['MOUNT_ATTR_RDONLY'] } as const;
  sequence.add(steps.setMountAttributes({ directory: copy, change }), { label });
  attachAndClose(sequence, copy, target, label);
}

/**
 * Makes `paths` read-only, not the mounts below them, as runc does; those that are not there are
 * left out.
 */
export function addReadOnlyPaths(sequence: Sequence, root: Value, paths: readonly string[]): void {
  for (const path of paths.map(normalizePath)) {
    const label = `make ${path} read-only`;
    const target = sharedResult('target');
    sequence.add(openStep(root, path, ['O_PATH']), {
      label,
      into: target.field,
      tolerate: ['ENOENT', 'ENOTDIR'],
      ifSucceeded: (there) => {
        const flags = [
          'OPEN_TREE_CLONE',
          'OPEN_TREE_CLOEXEC',
          'AT_EMPTY_PATH',
          'AT_RECURSIVE',
        ] as const;
        const copy = there.add(steps.openTree({ directory: target, path: '', flags }), { label });
        const change = { set: ['MOUNT_ATTR_RDONLY'] } as const;
        there.add(steps.setMountAttributes({ directory: copy, change }), { label });
        attachAndClose(there, copy, target, label);
      },
    });
  }
}

/** Makes the root mount itself read-only, not those on it. */
export function addReadOnlyRoot(sequence: Sequence, root: Value): void {
  const change = { set: ['MOUNT_ATTR_RDONLY'] } as const;
  sequence.add(steps.setMountAttributes({ directory: root, change }), {
    label: 'make the root read-only',
  });
}

function attachAndClose(sequence: Sequence, mounted: Value, target: Value, label: string): void {
  sequence.add(steps.moveMount({ from: mounted, to: target }), { label });
  sequence.add(steps.close(mounted));
  sequence.add(steps.close(target));
}
