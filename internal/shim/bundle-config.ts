import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { MountTable } from './mount-table.ts';

/** What the shim itself has to know of a bundle's config.json. */
export interface BundleConfig {
  /** Whether the kernel kills all others when the init process ends: it gets a new pid namespace. */
  readonly hasOwnPidNamespace: boolean;
  /** Absolute path of the root file system. */
  readonly rootfs: string;
  /** Absolute paths of what is bound into the container. */
  readonly sources: readonly string[];
  /** Path of the socket of an agent that is told of the container's system calls, if any. */
  readonly seccompAgent: string | undefined;
}

/**
 * Reads config.json as far as the shim needs it. That it is wrong, not there or no JSON is for the
 * runtime to say. Undefined: it cannot be read without waiting, for it is no regular file.
 */
export function readBundleConfig(bundle: string): BundleConfig | undefined {
  let text: string;
  try {
    const read = readRegularFile(join(bundle, 'config.json'));
    if (read === undefined) return undefined;
    text = read;
  } catch {
    return parseBundleConfig(undefined, bundle); // the runtime will not create it
  }
  try {
    return parseBundleConfig(JSON.parse(text), bundle);
  } catch {
    return parseBundleConfig(undefined, bundle); // neither will it this
  }
}

function readRegularFile(path: string): string | undefined {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    return fstatSync(fd).isFile() ? readFileSync(fd, 'utf8') : undefined;
  } finally {
    closeSync(fd);
  }
}

type Fields = Readonly<Record<string, unknown>>;

/** As {@link readBundleConfig}, of what JSON has made of it. */
export function parseBundleConfig(config: unknown, bundle: string): BundleConfig {
  const { root, mounts, linux } = fieldsOf(config);
  const { path } = fieldsOf(root);
  const { namespaces, seccomp } = fieldsOf(linux);
  const listener = fieldsOf(seccomp)['listenerPath'];
  return {
    hasOwnPidNamespace: listOf(namespaces).some(({ type, path: joined }) => {
      return type === 'pid' && !joined;
    }),
    rootfs: resolve(bundle, typeof path === 'string' ? path : 'rootfs'),
    sources: listOf(mounts)
      .filter(isBind)
      .map(({ source }) => source)
      .filter((source) => typeof source === 'string')
      .map((source) => resolve(bundle, source)),
    seccompAgent: typeof listener === 'string' && listener !== '' ? listener : undefined,
  };
}

function isBind({ type, options }: Fields): boolean {
  if (type === 'bind' || type === 'rbind') return true;
  return Array.isArray(options) && (options.includes('bind') || options.includes('rbind'));
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

function listOf(value: unknown): Fields[] {
  return Array.isArray(value) ? value.map(fieldsOf) : [];
}

/** Whether a create that looks at what the bundle names might not come back. */
export function createMayHang(config: BundleConfig, mounts: MountTable): boolean {
  return mounts.mayHangBelow(config.rootfs) || config.sources.some((path) => mounts.mayHang(path));
}
