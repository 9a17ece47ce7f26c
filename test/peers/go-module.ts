// Builds programs of a Go module from the module's own sources, with the versions of its own go.sum.
import { spawnSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { basename, join } from 'node:path';
import { run } from './apt.ts';
import type { GoSuite } from './packages.ts';

const GO_PROGRAMS = ['go', '/usr/local/go/bin/go', '/usr/lib/go/bin/go'];

/** Path or name of this machine's Go compiler; undefined when there is none. */
export function goProgram(): string | undefined {
  return GO_PROGRAMS.find((name) => spawnSync(name, ['version']).status === 0);
}

/** Builds the programs into `bin` below `tree`; `work` is a directory for the sources. Throws an Error that says what did not work. */
export function buildGoModule(
  { module, version, programs, tests, variables }: GoSuite,
  work: string,
  tree: string,
): void {
  const go = goProgram();
  if (go === undefined) throw new Error('no Go compiler');
  const { Dir: sources } = JSON.parse(
    run(go, ['mod', 'download', '-json', `${module}@${version}`], work),
  ) as { Dir: string };
  const copy = join(work, 'sources');
  cpSync(sources, copy, { recursive: true });
  // Files of the cache of modules may not be written to, nor may directories in it be removed.
  run('chmod', ['-R', 'u+w', copy], work);
  const set = variables.map((variable) => `-X ${module}/${variable}`);
  const options = ['-trimpath', '-buildvcs=false', `-ldflags=-s -w ${set.join(' ')}`];
  const output = (path: string): string => join(tree, 'bin', basename(path));
  for (const path of programs) {
    run(go, ['build', ...options, '-o', output(path), `./${path}`], copy);
  }
  for (const path of tests) {
    run(go, ['test', '-c', ...options, '-o', output(path), `./${path}`], copy);
  }
}
