// Compiles JavaScript ahead of time. An SEA's own code cache holds only what V8 compiles when it loads a file, which is
// little more than its outermost level; everything else is compiled when it is first called, in every process again.
// That was a fourth of the time of `tsrunc run`. So the parts of a program are compiled here: whole, or those functions
// that are known to be called, since what is compiled is read at each start whether it is called or not.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { keyFunctions } from './function-keys.ts';

/** What is compiled: every function, what runs when the file is loaded, or the functions with these keys (function-keys.ts). */
export type Compile = 'everything' | 'outermost' | ReadonlySet<string>;

// V8 ties compiled code to its options. The option that compiles everything is on only while it does, and off when the
// code is written, which then fits a V8 that was started without it. Functions by key: V8 says which there are; then each
// is compiled as a debugger that asks for the places of breakpoints has it compiled.
const MAKE = `
const { Script } = require('node:vm');
const { Session } = require('node:inspector');
const { readFileSync, writeFileSync } = require('node:fs');
const { setFlagsFromString } = require('node:v8');
function compileAll(code, filename) {
  setFlagsFromString('--no-lazy');
  const script = new Script(code, { filename });
  setFlagsFromString('--lazy');
  return script;
}
function compileSome(code, filename, places) {
  const session = new Session();
  session.connect();
  const ask = (method, parameters) => {
    session.post(method, parameters, (error) => {
      if (error) throw new Error(method + ': ' + error.message);
    });
  };
  let scriptId;
  session.on('Debugger.scriptParsed', ({ params }) => {
    if (params.url.endsWith(filename)) scriptId = params.scriptId;
  });
  ask('Debugger.enable');
  const script = new Script(code, { filename });
  script.runInThisContext();
  for (const [lineNumber, columnNumber] of places) {
    const start = { scriptId, lineNumber, columnNumber };
    const end = { scriptId, lineNumber, columnNumber: columnNumber + 1 };
    ask('Debugger.getPossibleBreakpoints', { start, end, restrictToFunction: true });
  }
  session.disconnect();
  return script;
}
const [compile, ...files] = process.argv.slice(1);
for (const file of files) {
  const code = readFileSync(file, 'latin1');
  const script =
    compile === 'everything' ? compileAll(code, file)
    : compile === 'outermost' ? new Script(code, { filename: file })
    : compileSome(code, file, JSON.parse(readFileSync(file + '.places', 'utf8')));
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
  if (texts.size === 0) return new Map();
  const work = mkdtempSync(join(dir, 'compile-'));
  const paths = new Map([...texts].map(([name], index) => [name, join(work, String(index))]));
  for (const [name, text] of texts) writeFileSync(paths.get(name) ?? '', text, 'latin1');
  if (typeof compile !== 'string') {
    for (const [name, text] of texts) {
      writeFileSync(`${paths.get(name)}.places`, JSON.stringify(placesOf(text, compile)));
    }
  }
  const what = typeof compile === 'string' ? compile : 'some';
  run(node, [...v8Options, '-e', MAKE, what, ...paths.values()]);
  run(node, [...v8Options, '-e', CHECK, ...paths.values()]);
  return new Map([...paths].map(([name, path]) => [name, readFileSync(`${path}.cache`)]));
}

/** Line and column, from 0, in each of the functions. */
function placesOf(text: string, keys: ReadonlySet<string>): [number, number][] {
  const functions = keyFunctions(text).filter(({ key }) => keys.has(key));
  const places: [number, number][] = [];
  for (const { inside } of functions) {
    const before = text.slice(0, inside);
    places.push([before.split('\n').length - 1, inside - (before.lastIndexOf('\n') + 1)]);
  }
  return places;
}

function run(node: readonly string[], args: readonly string[]): void {
  const [command = '', ...prefix] = node;
  const result = spawnSync(command, [...prefix, ...args], { encoding: 'utf8' });
  if (result.status === 0) return;
  throw new Error(`compile ahead: ${result.error?.message ?? result.stderr.trim()}`);
}
