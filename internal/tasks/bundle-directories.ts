import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno, TsError } from '../errors/index.ts';
import { removeByRename } from './bundle.ts';

/** Namespace and id of all bundles below `root`. */
export async function bundlesIn(root: string): Promise<[namespace: string, id: string][]> {
  const found: [string, string][] = [];
  for (const namespace of await directoriesIn(root)) {
    for (const id of await directoriesIn(join(root, namespace))) found.push([namespace, id]);
  }
  return found;
}

/** Names of the directories in one; those that were being deleted are deleted. */
async function directoriesIn(path: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      if (entry.name.startsWith('.')) await removeByRename(join(path, entry.name));
      else names.push(entry.name);
    }
  } catch (thrown) {
    if (!isErrno(thrown, 'ENOENT')) throw TsError.from(thrown, `list ${path}`);
  }
  return names;
}
