/**
 * Options of a mount that a daemon asks for (containerd.types.Mount: the words of mount(8)).
 */
export { type MountArguments, parseMountOptions } from '../linux/mount-words.ts';

/** mount(2) copies one page of data, its NUL included. */
export const MAX_MOUNT_DATA_BYTES = 4095;

/** An overlay's data in fewer bytes: its layers relative to a directory that all of them are below. */
export interface CompactData {
  readonly data: string;
  readonly directory: string;
}

/**
 * Shortens an overlay's data by the directory that its layers share. Undefined if there are no
 * two layers with a common directory.
 */
export function compactLayers(data: string): CompactData | undefined {
  const options = data.split(',');
  const index = options.findIndex((option) => option.startsWith('lowerdir='));
  const layers = options[index]?.slice('lowerdir='.length).split(':') ?? [];
  if (index < 0 || layers.length < 2) return undefined;
  const directory = commonDirectory(layers);
  if (directory === undefined) return undefined;
  const relative = layers.map((layer) => layer.slice(directory.length + 1));
  options[index] = `lowerdir=${relative.join(':')}`;
  return { data: options.join(','), directory };
}

function commonDirectory(paths: readonly string[]): string | undefined {
  const [first = '', ...others] = paths.map((path) => path.split('/').slice(0, -1));
  let length = first.length;
  for (const other of others) {
    let same = 0;
    while (same < length && first[same] === other[same]) same++;
    length = same;
  }
  const directory = [...first].slice(0, length).join('/');
  return directory.startsWith('/') ? directory : undefined;
}
