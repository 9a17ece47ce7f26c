import { spawnSync } from 'node:child_process';

/**
 * The git commit that is being built, with `.m` behind it when files differ from it, as containerd marks its own;
 * empty outside a git checkout (a source archive).
 */
export function revision(root: string): string {
  const head = git(root, ['rev-parse', 'HEAD']);
  if (head === '') return '';
  return git(root, ['status', '--porcelain', '--untracked-files=no']) === '' ? head : `${head}.m`;
}

function git(root: string, args: string[]): string {
  const run = spawnSync('git', args, { cwd: root, encoding: 'utf8' });
  return run.status === 0 ? run.stdout.trim() : '';
}
