import { nearestName } from './nearest-name.ts';
import { propertyError } from './schema-check.ts';
import type { Mount } from './spec.ts';

/** Options that a runtime itself must know (runtime-spec config-linux.md, mount options). */
export const MOUNT_OPTION_NAMES: readonly string[] = (
  'acl async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud mand noacl ' +
  'noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid ' +
  'nosymfollow private ratime rbind rdev rdiratime relatime remount rexec ridmap rnoatime rnodev ' +
  'rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro ' +
  'rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime ' +
  'suid symfollow sync tmpcopyup unbindable'
).split(' ');

/** Parameters of file systems whose list is the kernel's alone; a name ends at `=`. */
const PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  devpts: ['gid', 'max', 'mode', 'newinstance', 'ptmxmode', 'uid'],
  mqueue: [],
  proc: ['gid', 'hidepid', 'pidns', 'subset'],
  sysfs: [],
  tmpfs: [
    'casefold',
    'gid',
    'grpquota',
    'grpquota_block_hardlimit',
    'grpquota_inode_hardlimit',
    'huge',
    'inode32',
    'inode64',
    'mode',
    'mpol',
    'nr_blocks',
    'nr_inodes',
    'noswap',
    'quota',
    'size',
    'strict_encoding',
    'uid',
    'usrquota',
    'usrquota_block_hardlimit',
    'usrquota_inode_hardlimit',
  ],
};

/** Labels that any file system takes when SELinux is on (mount(8)). */
const LABELS = ['context', 'defcontext', 'fscontext', 'rootcontext', 'seclabel'];

/**
 * Refuses an option that nobody would take: it is neither the runtime's nor the file system's, or it
 * is on a bind mount, where the kernel drops in silence what it does not know. File systems that are
 * not in the table judge for themselves when they are mounted.
 *
 * `property` is the mount's place in the document, `mounts[3]`. Throws InvalidArgument.
 */
export function checkMountOptions(mount: Mount, property: string, document: string): void {
  const options = mount.options ?? [];
  const isBind = options.includes('bind') || options.includes('rbind');
  // Configurations give binds the options of a tmpfs: no runtime minds, and they mean nothing there.
  const takes = parametersOf(isBind ? 'tmpfs' : mount.type);
  if (takes === undefined) return;
  options.forEach((option, index) => {
    if (option === '' || MOUNT_OPTION_NAMES.includes(option)) return;
    const name = option.split('=', 1)[0] ?? '';
    if (takes.includes(name) || LABELS.includes(name)) return;
    const near = nearestName(name, [...takes, ...MOUNT_OPTION_NAMES]);
    const place = isBind ? 'a bind mount' : mount.type;
    throw propertyError(
      document,
      `${property}.options[${index}]`,
      `unknown mount option ${JSON.stringify(option)} for ${place}`,
      near === undefined ? undefined : `use "${near}" if that was meant`,
    );
  });
}

function parametersOf(type: string | undefined): readonly string[] | undefined {
  return type !== undefined && Object.hasOwn(PARAMETERS, type) ? PARAMETERS[type] : undefined;
}
