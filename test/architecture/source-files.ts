// The files that the checks of this folder look at.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The repository. */
export const root = join(import.meta.dirname, '../..');

/** Files that are in git or would be added to it; paths are relative to the repository. Throws outside a git checkout. */
export function repositoryFiles(): string[] {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', '--deduplicate'];
  const git = spawnSync('git', args, { cwd: root, encoding: 'utf8' });
  if (git.status !== 0) throw new Error(`git ls-files: ${git.error?.message ?? git.stderr}`);
  // A file may be listed and deleted in the working tree.
  return git.stdout.split('\n').filter((path) => path !== '' && readText(path) !== undefined);
}

/** The text of a file of the repository; undefined when it is not there. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(join(root, path), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
