/**
 * Names of the systemd units that are containers' cgroups. The text comes from config.json and becomes both a unit's name
 * and a path below the cgroup mount, so whatever could be more than one name is refused.
 */
import { TsError } from '../../errors/index.ts';
import type { CgroupOptions } from '../cgroup-manager.ts';

/** The scope of a container: processes that systemd did not start, in a cgroup that it made. */
export interface ContainerUnit {
  /** `cri-containerd-abc.scope`. */
  readonly name: string;
  /** The slice above: `system.slice`; `-.slice` is the root of all. */
  readonly slice: string;
}

/**
 * The unit for `linux.cgroupsPath`, which is `slice:prefix:name` with the systemd driver (runc docs/systemd.md): the scope
 * `prefix-name.scope`. Without a slice it is in system.slice, for a user's own systemd in user.slice; without any path the
 * scope is called after the container.
 *
 * Throws FailedPrecondition for a path of the cgroupfs driver, InvalidArgument for what cannot be a unit.
 */
export function containerUnit({ id, cgroupsPath }: CgroupOptions, isUser: boolean): ContainerUnit {
  const usual = isUser ? 'user.slice' : 'system.slice';
  if (cgroupsPath === undefined || cgroupsPath === '') {
    return { name: checkedName(`tsrunc-${id}.scope`, id), slice: usual };
  }
  const parts = cgroupsPath.split(':');
  const [slice = '', prefix = '', name = ''] = parts;
  if (parts.length !== 3 || name === '') throw notSystemd(cgroupsPath);
  if (name.endsWith('.slice')) {
    throw badPath(cgroupsPath, `${JSON.stringify(name)} is a slice, in which no process can be`);
  }
  expandSlice(slice === '' ? usual : slice); // refuses what is none
  return {
    name: checkedName(unitName(prefix, name), cgroupsPath),
    slice: slice === '' ? usual : slice,
  };
}

function unitName(prefix: string, name: string): string {
  return prefix === '' ? `${name}.scope` : `${prefix}-${name}.scope`;
}

/** What systemd takes as a unit's name (man 5 systemd.unit): 255 characters at most, and no slash among them. */
function checkedName(name: string, from: string): string {
  if (name.length <= 255 && /^[A-Za-z0-9:_.\\-][A-Za-z0-9:_.\\@-]*$/.test(name)) return name;
  throw badPath(from, `${JSON.stringify(name)} is not the name of a systemd unit`);
}

/**
 * The path of a slice's cgroup: `test-a-b.slice` is `/test.slice/test-a.slice/test-a-b.slice`, `-.slice` the root, `/`
 * (man 5 systemd.slice). Throws InvalidArgument for what is no slice.
 */
export function expandSlice(slice: string): string {
  if (slice === '-.slice') return '/';
  const isSlice = /^[A-Za-z0-9:_.\\]+(?:-[A-Za-z0-9:_.\\]+)*\.slice$/.test(slice);
  if (!isSlice || slice === '.slice' || slice.length > 255) {
    throw badPath(slice, `${JSON.stringify(slice)} is not the name of a slice`);
  }
  const words = slice.slice(0, -'.slice'.length).split('-');
  const slices = words.map((_, count) => `${words.slice(0, count + 1).join('-')}.slice`);
  return `/${slices.join('/')}`;
}

/** The path of a unit's cgroup below that of its systemd. */
export function unitCgroup({ name, slice }: ContainerUnit): string {
  const above = expandSlice(slice);
  return above === '/' ? `/${name}` : `${above}/${name}`;
}

function notSystemd(cgroupsPath: string): TsError {
  return new TsError(
    'FailedPrecondition',
    `linux.cgroupsPath ${JSON.stringify(cgroupsPath)} is a path for the cgroupfs driver, but the systemd driver is on`,
    {
      code: 'TS_CGROUP_DRIVER_MISMATCH',
      advice:
        'give slice:prefix:name as "system.slice:cri-containerd:ID", that is: set the kubelet\'s cgroupDriver to systemd, or SystemdCgroup = false',
      fields: { property: 'linux.cgroupsPath' },
    },
  );
}

function badPath(cgroupsPath: string, problem: string): TsError {
  return new TsError(
    'InvalidArgument',
    `linux.cgroupsPath ${JSON.stringify(cgroupsPath)}: ${problem}`,
    {
      code: 'TS_CGROUP_UNIT_NAME',
      fields: { property: 'linux.cgroupsPath' },
    },
  );
}
