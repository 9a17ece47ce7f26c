/**
 * Mounts of the types cgroup and cgroup2: the container sees its own cgroup as the root of each
 * hierarchy, by its cgroup namespace or by bind mounts of the cgroup's directories.
 */
import type { Hierarchy } from '../cgroups/index.ts';
import { type Sequence, steps } from '../linux/index.ts';
import { ensureDirectory, nameOf } from './in-root.ts';
import { exactChange, kernelAttributes, kernelPropagation } from './mount-attributes.ts';
import type { DataOption } from './mount-options.ts';
import type { PlannedMount } from './mount-plan.ts';
import { emptyFileSystem, type MountContext, newFileSystem } from './mount-steps.ts';

export interface CgroupView {
  readonly isUnified: boolean;
  /** Of cgroup v1; empty when unified. */
  readonly hierarchies: readonly Hierarchy[];
  /** The container's directory by controller; the one of cgroup v2 has the key `''`. */
  readonly paths: Readonly<Record<string, string>>;
  readonly hasNewNamespace: boolean;
}

export function addCgroupMount(
  sequence: Sequence,
  planned: PlannedMount,
  view: CgroupView,
  context: MountContext,
): void {
  if (planned.mount.type === 'cgroup2' || view.isUnified)
    addUnified(sequence, planned, view, context);
  else addLegacy(sequence, planned, view, context);
}

function addUnified(
  sequence: Sequence,
  planned: PlannedMount,
  view: CgroupView,
  context: MountContext,
): void {
  const { destination, options } = planned;
  const purpose = `mount cgroup2 on ${destination}`;
  const attributes = kernelAttributes(options.attributes.set);
  const own = view.paths[''];
  const target = ensureDirectory(sequence, context.root, destination, { purpose });
  const mounted =
    view.hasNewNamespace || (own === undefined && !view.isUnified)
      ? newFileSystem(sequence, purpose, 'cgroup2', { source: 'cgroup', data: [], attributes })
      : own === undefined
        ? emptyFileSystem(sequence, purpose) // rootless: the host's own are not shown (CVE-2023-25809)
        : bindDirectory(sequence, own, purpose, planned);
  sequence.add(steps.moveMount({ from: mounted, to: target }), { label: purpose });
  addPropagation(sequence, planned, mounted, purpose);
  sequence.add(steps.close(mounted));
  sequence.add(steps.close(target));
}

function bindDirectory(
  sequence: Sequence,
  path: string,
  purpose: string,
  { options }: PlannedMount,
) {
  const flags = ['OPEN_TREE_CLONE', 'OPEN_TREE_CLOEXEC'] as const;
  const tree = sequence.add(steps.openTree({ path, flags }), { label: `${purpose}: bind ${path}` });
  sequence.add(
    steps.setMountAttributes({ directory: tree, change: exactChange(options.attributes) }),
    { label: `${purpose}: set attributes` },
  );
  return tree;
}

function addPropagation(
  sequence: Sequence,
  { options }: PlannedMount,
  mounted: ReturnType<Sequence['add']>,
  purpose: string,
): void {
  for (const change of options.propagation) {
    const { type, isRecursive } = change;
    sequence.add(
      steps.setMountAttributes({
        directory: mounted,
        change: kernelPropagation(change),
        recursive: isRecursive,
      }),
      { label: `${purpose}: make it ${type}` },
    );
  }
}

/** A tmpfs with a directory for each hierarchy, and symlinks for those with several controllers. */
function addLegacy(
  sequence: Sequence,
  planned: PlannedMount,
  view: CgroupView,
  context: MountContext,
): void {
  const { destination, options } = planned;
  const purpose = `mount cgroup on ${destination}`;
  const isReadOnly = options.attributes.set.has('ro');
  const tmpfs = newFileSystem(sequence, purpose, 'tmpfs', {
    source: 'tmpfs',
    data: [{ key: 'mode', value: '755' }],
    attributes: ['MOUNT_ATTR_NOSUID', 'MOUNT_ATTR_NODEV', 'MOUNT_ATTR_NOEXEC'],
  });
  const target = ensureDirectory(sequence, context.root, destination, { purpose });
  sequence.add(steps.moveMount({ from: tmpfs, to: target }), { label: purpose });
  sequence.add(steps.close(target));
  for (const hierarchy of view.hierarchies) {
    const { controllers, mountPoint } = hierarchy;
    const directory = nameOf(mountPoint);
    const label = `mount cgroup ${controllers.join(',')} on ${destination}/${directory}`;
    sequence.add(steps.makeDirectory(directory, 0o755, tmpfs), { label });
    const place = sequence.add(
      steps.open({ directory: tmpfs, path: directory, flags: ['O_PATH', 'O_DIRECTORY'] }),
      { label },
    );
    const own = ownDirectory(view, hierarchy);
    const mounted = view.hasNewNamespace
      ? newFileSystem(sequence, label, 'cgroup', {
          source: controllers[0]?.startsWith('name=') === true ? directory : 'cgroup',
          data: hierarchyOptions(controllers),
          attributes: [
            'MOUNT_ATTR_NOSUID',
            'MOUNT_ATTR_NODEV',
            'MOUNT_ATTR_NOEXEC',
            ...(isReadOnly ? (['MOUNT_ATTR_RDONLY'] as const) : []),
          ],
        })
      : bindDirectory(sequence, own, label, planned);
    sequence.add(steps.moveMount({ from: mounted, to: place }), { label });
    sequence.add(steps.close(mounted));
    sequence.add(steps.close(place));
    for (const name of controllers.length > 1 ? controllers : []) {
      sequence.add(steps.makeSymlink(directory, name, tmpfs), { label, tolerate: 'EEXIST' });
    }
  }
  if (isReadOnly) {
    const change = { set: ['MOUNT_ATTR_RDONLY'] } as const;
    sequence.add(steps.setMountAttributes({ directory: tmpfs, change }), {
      label: `${purpose}: make it read-only`,
    });
  }
  addPropagation(sequence, planned, tmpfs, purpose);
  sequence.add(steps.close(tmpfs));
}

/** The container's directory; without a cgroup of its own (rootless) that of the runtime. */
function ownDirectory(view: CgroupView, hierarchy: Hierarchy): string {
  const { controllers, mountPoint, root, ownCgroup } = hierarchy;
  for (const name of controllers) {
    const path = view.paths[name];
    if (path !== undefined) return path;
  }
  return ownCgroup.startsWith(root) ? `${mountPoint}/${ownCgroup.slice(root.length)}` : mountPoint;
}

/** A named hierarchy has no controllers: `none,name=systemd`. */
function hierarchyOptions(controllers: readonly string[]): DataOption[] {
  return controllers.flatMap((controller): DataOption[] => {
    const name = /^name=(.*)$/.exec(controller)?.[1];
    if (name === undefined) return [{ key: controller, value: undefined }];
    return [
      { key: 'none', value: undefined },
      { key: 'name', value: name },
    ];
  });
}
