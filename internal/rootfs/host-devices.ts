/**
 * Device nodes of the machine, as a container's configuration names them.
 */
import { readdirSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { TsError } from '../errors/index.ts';
import type { Device } from '../oci/index.ts';

const S_IFMT = 0o170000;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;

/** Directories of /dev that hold a container's own files, and links into /proc. */
const NOT_DEVICES: ReadonlySet<string> = new Set([
  'pts',
  'shm',
  'fd',
  'mqueue',
  '.lxc',
  '.lxd-mounts',
  '.udev',
]);

/** The device at a path, or those in a directory. Throws NotFound and InvalidArgument by the path. */
export function devicesAt(hostPath: string, containerPath: string): Device[] {
  const device = deviceAt(hostPath, containerPath);
  if (device !== undefined) return [device];
  let names: string[];
  try {
    names = readdirSync(hostPath);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOTDIR') {
      throw new TsError('InvalidArgument', `device ${hostPath}: not a device node`);
    }
    throw TsError.from(thrown, `device ${hostPath}`);
  }
  return names
    .filter((name) => !NOT_DEVICES.has(name))
    .flatMap((name) => {
      const path = join(hostPath, name);
      const target = posix.join(containerPath, name);
      try {
        return isDirectory(path) ? devicesAt(path, target) : (deviceAt(path, target) ?? []);
      } catch (thrown) {
        // Between the list and the look at it a device went away.
        if (thrown instanceof TsError && thrown.kind === 'NotFound') return [];
        throw thrown;
      }
    });
}

const isDirectory = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

/** The device node of the host at `hostPath`, as `containerPath` in a container. Throws NotFound, and InvalidArgument for another file. */
export function deviceNode(hostPath: string, containerPath: string): Device {
  const device = deviceAt(hostPath, containerPath);
  if (device !== undefined) return device;
  throw new TsError('InvalidArgument', `device ${hostPath}: not a device node`);
}

function deviceAt(hostPath: string, containerPath: string): Device | undefined {
  const stat = statSync(hostPath, { throwIfNoEntry: false });
  if (stat === undefined) throw new TsError('NotFound', `device ${hostPath}: no such file`);
  const type = stat.mode & S_IFMT;
  if (type !== S_IFCHR && type !== S_IFBLK) return undefined;
  return {
    type: type === S_IFCHR ? 'c' : 'b',
    path: containerPath,
    ...numbersOf(stat.rdev),
    fileMode: stat.mode & 0o7777,
    uid: stat.uid,
    gid: stat.gid,
  };
}

/** Linux' packing of a device number into 64 bits (man 3 makedev). */
function numbersOf(rdev: number): { major: number; minor: number } {
  const number = BigInt(rdev);
  return {
    major: Number(((number >> 8n) & 0xfffn) | ((number >> 32n) & 0xfffff000n)),
    minor: Number((number & 0xffn) | ((number >> 12n) & 0xffffff00n)),
  };
}
