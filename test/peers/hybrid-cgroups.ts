// crun refuses to run where some cgroup controllers are v1 and others are left to v2 ("cgroups in hybrid mode not supported,
// drop all controllers from cgroupv2"). On such a machine it is started through a script that gives it a mount namespace
// in which hugetlb, the controller that is usually left, is a v1 hierarchy too. The machine's own mounts stay as they are.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
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

const ATTEMPTS = 10;
const PAUSE_MS = 200;

/**
 * Ends the hierarchy when nobody has it mounted any more. The kernel keeps it for as long as it has cgroups, such as those
 * above crun's containers or those that CRIU has made again, and also if they had not quite gone when it was unmounted. Whoever
 * reads in /proc of a hierarchy that is mounted nowhere is misled: the shims of containerd have no statistics then, and CRIU
 * makes the cgroups that it finds there again with each restore.
 */
export function endLeftHierarchy(): void {
  const script = `
    mount -t tmpfs tmpfs /mnt
    mkdir /mnt/hugetlb
    mount -t cgroup -o hugetlb cgroup /mnt/hugetlb
    find /mnt/hugetlb -mindepth 1 -depth -type d -exec rmdir {} +
    umount /mnt/hugetlb`;
  for (let attempt = 0; attempt < ATTEMPTS && isLeft(); attempt++) {
    const args = ['--mount', '--propagation', 'private', 'sh', '-c', script];
    const { stderr } = spawnSync('unshare', args, { encoding: 'utf8' });
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
    if (attempt === ATTEMPTS - 1 && isLeft()) {
      console.error(`the cgroup v1 hierarchy of hugetlb is left without a mount: ${stderr.trim()}`);
    }
  }
}

function isLeft(): boolean {
  if (process.getuid?.() !== 0) return false;
  if (!/^[0-9]+:hugetlb:/m.test(readFileSync('/proc/self/cgroup', 'utf8'))) return false;
  return !readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .some(hasMounted);
}

function hasMounted(pid: string): boolean {
  try {
    return / - cgroup .*\bhugetlb\b/.test(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
  } catch {
    return false; // it has ended
  }
}
