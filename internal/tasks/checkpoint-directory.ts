import type { Bundle } from './bundle.ts';
import type { NewTask } from './task-manager.ts';

/** Directory of the checkpoint that a task is restored from, or ''. */
export async function checkpointOf(
  bundle: Bundle,
  { checkpoint, unpackCheckpoint }: NewTask,
): Promise<string> {
  if (unpackCheckpoint === undefined) return checkpoint;
  const path = await bundle.makeDirectory('checkpoint');
  await unpackCheckpoint(path);
  return path;
}
