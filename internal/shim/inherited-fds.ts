/**
 * CVE-2024-21626: a descriptor that a daemon forgot to close leads from a container into the host.
 * What this process opens itself is close-on-exec, so everything else that is not was inherited by
 * mistake, and goes before the first container can get it.
 */
import { closeSync, readdirSync, readFileSync } from 'node:fs';
import { OpenFlag } from '../linux/index.ts';

/** Closes inherited descriptors from 3 on, except `kept`. */
export function closeInheritedFds(kept: readonly number[]): void {
  for (const name of readdirSync('/proc/self/fd')) {
    const fd = Number(name);
    if (fd < 3 || kept.includes(fd) || isCloseOnExec(fd)) continue;
    closeSync(fd);
  }
}

function isCloseOnExec(fd: number): boolean {
  try {
    const info = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
    const flags = Number.parseInt(/^flags:\s*([0-7]+)/m.exec(info)?.[1] ?? '0', 8);
    return (flags & OpenFlag.O_CLOEXEC) !== 0;
  } catch {
    return true; // gone: it was the one that listed the directory
  }
}
