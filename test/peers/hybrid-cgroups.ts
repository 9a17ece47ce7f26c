// crun refuses to run where some cgroup controllers are v1 and others are left to v2 ("cgroups in hybrid mode not supported,
// drop all controllers from cgroupv2"). On such a machine it is started through a script that gives it a mount namespace
// in which hugetlb, the controller that is usually left, is a v1 hierarchy too. The machine's own mounts stay as they are.
import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Whether hugetlb is all that keeps crun from running here, and this process may do something about it. */
function needsHierarchy(): boolean {
  const unified = '/sys/fs/cgroup/unified/cgroup.controllers';
  if (process.getuid?.() !== 0 || !existsSync(unified)) return false;
  // Empty while somebody else has the hierarchy mounted, in a mount namespace of theirs.
  const left = readFileSync(unified, 'utf8').trim();
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const isMounted = mounts.some((line) => / - cgroup .*\bhugetlb\b/.test(line));
  const isEnabled = /^hugetlb\t.*\t1$/m.test(readFileSync('/proc/cgroups', 'utf8'));
  return isEnabled && !isMounted && (left === 'hugetlb' || left === '');
}

/** The path to start crun by: its own, or that of a script beside it. */
export function crunPath(directory: string, crun: string): string {
  if (!needsHierarchy()) return crun;
  const path = join(directory, 'crun-in-hybrid');
  const text = script(crun);
  if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
    const partial = `${path}.${process.pid}`;
    writeFileSync(partial, text);
    chmodSync(partial, 0o755);
    renameSync(partial, path);
  }
  return path;
}

/** The hierarchies' directory becomes a tmpfs of this mount namespace, with room for one more. */
function script(crun: string): string {
  return `#!/bin/sh
exec unshare --mount --propagation private /bin/sh -ec '
  root=/sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs /mnt
  for h in $root/*; do mkdir /mnt/\${h##*/}; mount --bind $h /mnt/\${h##*/}; done
  mkdir -p /mnt/hugetlb
  mount -t cgroup -o hugetlb cgroup /mnt/hugetlb
  mount --rbind /mnt $root
  umount -l /mnt
  exec "$0" "$@"
' ${crun} "$@"
`;
}
