/** What SELinux of this machine says about containers: whether it is on, and the labels of its policy. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseContexts, type SelinuxContexts } from './selinux-labels.ts';

/** Undefined where SELinux is off, and where its policy knows no containers. `root` is for tests. */
export function detectSelinux(root = '/'): SelinuxContexts | undefined {
  const read = (...path: string[]): string | undefined => {
    const file = join(root, ...path);
    return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
  };
  if (read('sys/fs/selinux/enforce') === undefined) return undefined;
  const policy = /^\s*SELINUXTYPE\s*=\s*(\S+)/m.exec(read('etc/selinux/config') ?? '')?.[1];
  const contexts =
    read('usr/share/containers/selinux/contexts') ??
    read('etc/selinux', policy ?? 'targeted', 'contexts/lxc_contexts');
  return contexts === undefined
    ? undefined
    : parseContexts(contexts, read('sys/fs/selinux/mls')?.trim() === '1');
}
