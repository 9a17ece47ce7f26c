// Compiles JavaScript ahead of time. An SEA's own code cache holds only what V8 compiles when it loads a file, which is
// little more than its outermost level; everything else is compiled when it is first called, in every process again.
// That was a fourth of the time of `tsrunc run`. So the parts of a program are compiled here, whole if wanted.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What is compiled: every function, or what runs when the file is loaded. */
export type Compile = 'everything' | 'outermost';

// V8 ties compiled code to its options. The option that compiles everything is on only while it does, and off when the
// code is written, which then fits a V8 that was started without it.
const MAKE = `
const { Script } = require('node:vm');
const { readFileSync, writeFileSync } = require('node:fs');
const { setFlagsFromString } = require('node:v8');
const [compile, ...files] = process.argv.slice(1);
for (const file of files) {
  const code = readFileSync(file, 'latin1');
  if (compile === 'everything') setFlagsFromString('--no-lazy');
  const script = new Script(code, { filename: file });
  if (compile === 'everything') setFlagsFromString('--lazy');
  writeFileSync(file + '.cache', script.createCachedData());
}`;

const CHECK = `
const { Script } = require('node:vm');
const { readFileSync } = require('node:fs');
for (const file of process.argv.slice(1)) {
  const cachedData = readFileSync(file + '.cache');
  const script = new Script(readFileSync(file, 'latin1'), { filename: file, cachedData });
  if (script.cachedDataRejected) throw new Error('V8 refuses what it has compiled: ' + file);
}`;

/**
 * Compiles functions given as texts, by name, and returns V8's form of each. `node` is the command of the Node that will
 * run them, `v8Options` what it will be started with; `dir` is a directory for the files of the work.
 */
export function compileAhead(
  node: readonly string[],
  v8Options: readonly string[],
  compile: Compile,
  texts: ReadonlyMap<string, string>,
  dir: string,
): Map<string, Buffer> {
  const work = join(dir, 'compile');
  mkdirSync(work);
  const paths = new Map([...texts].map(([name], index) => [name, join(work, String(index))]));
  for (const [name, text] of texts) writeFileSync(paths.get(name) ?? '', text, 'latin1');
  run(node, [...v8Options, '-e', MAKE, compile, ...paths.values()]);
  run(node, [...v8Options, '-e', CHECK, ...paths.values()]);
  return new Map([...paths].map(([name, path]) => [name, readFileSync(`${path}.cache`)]));
}

function run(node: readonly string[], args: readonly string[]): void {
  const [command = '', ...prefix] = node;
  const result = spawnSync(command, [...prefix, ...args], { encoding: 'utf8' });
  if (result.status === 0) return;
  throw new Error(`compile ahead: ${result.error?.message ?? result.stderr.trim()}`);
}
