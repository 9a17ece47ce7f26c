import { type Result, type Sequence, steps, type Value } from '../linux/index.ts';
import { addCopyUp } from './copy-up.ts';
import { ensureDirectory, ensureFile, openStep } from './in-root.ts';
import {
  exactChange,
  isEmptyChange,
  kernelAttributes,
  kernelPropagation,
  namedChange,
} from './mount-attributes.ts';
import { type DataOption, parseDataOption } from './mount-options.ts';
import type { PlannedMount } from './mount-plan.ts';

/** What mounting needs to know besides the mount itself. */
export interface MountContext {
  /** fd of the container's root. */
  readonly root: Value;
  /** Detached copies of bind sources that the runtime opened itself, by property. */
  readonly sourceFds: ReadonlyMap<string, number>;
  /** `linux.mountLabel`: SELinux context of new file systems. */
  readonly mountLabel: string | undefined;
  /** User namespace fds of id-mapped mounts, by property. */
  readonly idmapFds: ReadonlyMap<string, number>;
  /** Steps for the end, when nothing has to be made any more on what becomes read-only. */
  readonly finally: ((sequence: Sequence) => void)[];
}

/** File systems whose context the kernel refuses, as they have their own labels. */
const WITHOUT_LABEL = new Set(['proc', 'sysfs', 'mqueue', 'cgroup', 'cgroup2']);

/** Longest string that fsconfig(2) takes, its NUL included. */
const FSCONFIG_STRING_BYTES = 256;

/** Adds the steps of one mount that is not a cgroup file system. */
export function addMount(sequence: Sequence, planned: PlannedMount, context: MountContext): void {
  switch (planned.kind) {
    case 'bind':
      addBind(sequence, planned, context);
      return;
    case 'remount':
      addRemount(sequence, planned, context);
      return;
    default:
      addFileSystem(sequence, planned, context);
  }
}

function addBind(sequence: Sequence, planned: PlannedMount, context: MountContext): void {
  const { source, destination, options, property } = planned;
  const purpose = `bind ${source} on ${destination}`;
  const given = context.sourceFds.get(property);
  const isRecursive = options.bind !== 'bind';
  const tree =
    given ??
    sequence.add(
      steps.openTree({
        path: source,
        flags: [
          'OPEN_TREE_CLONE',
          'OPEN_TREE_CLOEXEC',
          ...(isRecursive ? (['AT_RECURSIVE'] as const) : []),
        ],
      }),
      { label: `${purpose}: copy mount`, as: 'tree' },
    );
  if (destination === '/proc') {
    steps.checkFileSystem(sequence, tree, 'PROC_SUPER_MAGIC', `${property}.source ${source}`);
  }
  const idmap = context.idmapFds.get(property);
  if (idmap !== undefined) {
    sequence.add(
      steps.setMountAttributes({
        directory: tree,
        change: { set: ['MOUNT_ATTR_IDMAP'], userNamespaceFd: idmap },
        recursive: options.idmap === 'ridmap',
      }),
      { label: `${purpose}: map ids` },
    );
  }
  if (!isEmptyChange(options.attributes)) {
    const label = `${purpose}: set attributes`;
    const exact = exactChange(options.attributes);
    const step = steps.setMountAttributes({ directory: tree, change: exact });
    if (options.attributes.clear.size > 0) sequence.add(step, { label });
    else {
      // In a user namespace attributes of the source may be locked (EPERM): those stay.
      const named = namedChange(options.attributes);
      sequence.add(step, {
        label,
        tolerate: 'EPERM',
        ifTolerated: (locked) => {
          locked.add(steps.setMountAttributes({ directory: tree, change: named }), { label });
        },
      });
    }
  }
  attach(sequence, tree, planned, context, purpose);
}

function addFileSystem(sequence: Sequence, planned: PlannedMount, context: MountContext): void {
  const { mount, destination, options } = planned;
  const type = mount.type ?? '';
  const purpose = `mount ${type} on ${destination}`;
  const data = options.data.map(parseDataOption);
  if (context.mountLabel !== undefined && !WITHOUT_LABEL.has(type)) {
    data.push({ key: 'context', value: context.mountLabel });
  }
  const isTmpfs = type === 'tmpfs';
  // As runc has it: without a mode of its own a tmpfs gets that of the directory it covers.
  if (isTmpfs && planned.mode !== undefined) {
    data.unshift({ key: 'mode', value: planned.mode.toString(8) });
  }
  const attributes = [...options.attributes.set].filter((each) => !(isTmpfs && each === 'ro'));
  if (data.some(({ value = '' }) => Buffer.byteLength(value) >= FSCONFIG_STRING_BYTES)) {
    addByMountCall(sequence, planned, context, purpose, data);
    return;
  }
  const flags = [...options.superblockFlags].filter((each) => !(isTmpfs && each === 'ro'));
  const made = newFileSystem(sequence, purpose, type, {
    source: mount.source ?? type,
    data,
    flags,
    attributes: kernelAttributes(attributes),
  });
  attach(sequence, made, planned, context, purpose, (target) => {
    addCopyUp(sequence, { from: target, to: made }, planned.copyUp, purpose);
  });
  if (isTmpfs && options.attributes.set.has('ro')) {
    context.finally.push((end) => {
      const target = ensureDirectory(end, context.root, destination, { purpose });
      end.add(
        steps.setMountAttributes({ directory: target, change: { set: ['MOUNT_ATTR_RDONLY'] } }),
        { label: `${purpose}: make it read-only` },
      );
      end.add(steps.close(target));
    });
  }
}

/** A detached mount of a new file system in which nothing is and nothing can be made. */
export function emptyFileSystem(sequence: Sequence, purpose: string): Result {
  return newFileSystem(sequence, purpose, 'tmpfs', {
    source: 'tmpfs',
    data: [
      { key: 'nr_blocks', value: '1' },
      { key: 'nr_inodes', value: '1' },
    ],
    flags: ['ro'],
    attributes: ['MOUNT_ATTR_RDONLY'],
  });
}

/** A detached mount of a new file system. */
export function newFileSystem(
  sequence: Sequence,
  purpose: string,
  type: string,
  options: {
    source: string;
    data: readonly DataOption[];
    flags?: readonly string[];
    attributes?: Parameters<typeof steps.mountFileSystem>[1];
  },
): Result {
  const context = sequence.add(steps.openFileSystem(type), { label: purpose, as: 'fs' });
  sequence.add(steps.configureFileSystem(context, 'source', options.source), { label: purpose });
  for (const flag of options.flags ?? []) {
    sequence.add(steps.configureFileSystem(context, flag), { label: `${purpose}: option ${flag}` });
  }
  for (const { key, value } of options.data) {
    const text = value === undefined ? key : `${key}=${value}`;
    sequence.add(steps.configureFileSystem(context, key, value), {
      label: `${purpose}: option ${text}`,
    });
  }
  sequence.add(steps.createFileSystem(context), { label: purpose });
  const mounted = sequence.add(steps.mountFileSystem(context, options.attributes), {
    label: purpose,
    as: 'mount',
  });
  sequence.add(steps.close(context));
  return mounted;
}

/**
 * Puts a detached mount at its place and gives it its propagation. Closes it. `before` is called when the place,
 * which the mount is to cover, is open.
 */
function attach(
  sequence: Sequence,
  mounted: Value,
  planned: PlannedMount,
  context: MountContext,
  purpose: string,
  before: (target: Value) => void = () => {},
): void {
  const { destination, options, mount, isDirectory } = planned;
  const { recursiveAttributes } = options;
  // The real /proc and /sys are where the runtime itself writes: no way there may be a symlink.
  const withoutSymlinks = mount.type === 'proc' || mount.type === 'sysfs';
  const target = planned.isThere
    ? sequence.add(
        openStep(
          context.root,
          destination,
          isDirectory ? ['O_PATH', 'O_DIRECTORY'] : ['O_PATH'],
          withoutSymlinks,
        ),
        { label: `${purpose}: open ${destination}` },
      )
    : isDirectory
      ? ensureDirectory(sequence, context.root, destination, { purpose, withoutSymlinks })
      : ensureFile(sequence, context.root, destination, { purpose });
  before(target);
  sequence.add(steps.moveMount({ from: mounted, to: target }), { label: purpose });
  for (const change of options.propagation) {
    sequence.add(
      steps.setMountAttributes({
        directory: mounted,
        change: kernelPropagation(change),
        recursive: change.isRecursive,
      }),
      { label: `${purpose}: make it ${change.type}` },
    );
  }
  if (!isEmptyChange(recursiveAttributes)) {
    sequence.add(
      steps.setMountAttributes({
        directory: mounted,
        change: namedChange(recursiveAttributes),
        recursive: true,
      }),
      { label: `${purpose}: set recursive attributes` },
    );
  }
  sequence.add(steps.close(target));
  sequence.add(steps.close(mounted));
}

/** mount(2) on the working directory, for option strings that fsconfig(2) does not take. */
function addByMountCall(
  sequence: Sequence,
  planned: PlannedMount,
  context: MountContext,
  purpose: string,
  data: readonly DataOption[],
): void {
  const { mount, destination, options } = planned;
  const target = ensureDirectory(sequence, context.root, destination, { purpose });
  sequence.add(steps.changeDirectoryToFd(target), { label: purpose });
  sequence.add(
    steps.mount({
      source: mount.source ?? mount.type ?? null,
      target: '.',
      type: mount.type ?? null,
      data: data.map(({ key, value }) => (value === undefined ? key : `${key}=${value}`)).join(','),
    }),
    { label: purpose },
  );
  const mounted = ensureDirectory(sequence, context.root, destination, { purpose });
  addCopyUp(sequence, { from: target, to: mounted }, planned.copyUp, purpose);
  sequence.add(steps.close(target));
  sequence.add(
    steps.setMountAttributes({ directory: mounted, change: namedChange(options.attributes) }),
    { label: `${purpose}: set attributes` },
  );
  for (const change of options.propagation) {
    sequence.add(
      steps.setMountAttributes({
        directory: mounted,
        change: kernelPropagation(change),
        recursive: change.isRecursive,
      }),
      { label: `${purpose}: make it ${change.type}` },
    );
  }
  sequence.add(steps.close(mounted));
}

function addRemount(sequence: Sequence, planned: PlannedMount, context: MountContext): void {
  const { destination, options } = planned;
  const purpose = `remount ${destination}`;
  const target = ensureDirectory(sequence, context.root, destination, { purpose });
  sequence.add(
    steps.setMountAttributes({ directory: target, change: exactChange(options.attributes) }),
    { label: purpose },
  );
  sequence.add(steps.close(target));
}
