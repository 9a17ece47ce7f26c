import type { FlagSpecs, FlagValues } from '../flags/flag-parser.ts';

/** For commands that are not below `snapshots`. */
export const SNAPSHOTTER_FLAG: FlagSpecs = {
  snapshotter: { type: 'string', usage: 'snapshotter [$CONTAINERD_SNAPSHOTTER]' },
};

const DEFAULT_SNAPSHOTTER = 'overlayfs';

/** The snapshotter that a command is about. */
export function snapshotterOf(flags: FlagValues): string {
  const fromEnvironment = process.env['CONTAINERD_SNAPSHOTTER'] ?? '';
  const name = flags.string('snapshotter') ?? fromEnvironment;
  return name === '' ? DEFAULT_SNAPSHOTTER : name;
}
