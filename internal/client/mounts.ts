import type { Mount } from '../api/generated/containerd.types.ts';
import { mount, unmountAll } from '../linux/mount.ts';
import { parseMountOptions } from '../linux/mount-words.ts';

/** A mount as a command for a shell. */
export function mountCommand({ type, source, options }: Mount, target: string): string {
  const words = options.length === 0 ? '' : ` -o ${options.join(',')}`;
  return `mount -t ${type} ${source} ${target}${words}`;
}

/** Mounts, as containerd's JSON has them. */
export function mountsJson(mounts: readonly Mount[]): object[] {
  return mounts.map(({ type, source, target, options }) => {
    return { Type: type, Source: source, Target: target, Options: options };
  });
}

/** Mounts in this process's namespace. A bind mount gets its other flags by a second call, as the kernel wants it. */
export function mountAll(mounts: readonly Mount[], target: string): void {
  for (const { type, source, options } of mounts) {
    const { flags, data } = parseMountOptions(options);
    const isBind = flags.includes('MS_BIND');
    mount({ source, target, type: isBind ? null : type, flags, data: data === '' ? null : data });
    if (isBind && flags.includes('MS_RDONLY')) {
      mount({ target, flags: [...flags, 'MS_REMOUNT'] });
    }
  }
}

/** Unmounts all that is stacked there; nothing mounted is success. */
export function unmountTarget(target: string): void {
  unmountAll(target, []);
}
