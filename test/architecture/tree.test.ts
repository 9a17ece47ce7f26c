// What the tree must look like: names at the top, sizes and names of files, no trace of the machine it was written on.
import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { readText, repositoryFiles, root } from './source-files.ts';

const files = repositoryFiles();
const sources = files.filter((path) => path.endsWith('.ts'));
/** Facts and their checker, kept as they were received. */
const received = (path: string) => path.startsWith('test/wire/');

test('the top of the repository holds what was agreed, and nothing else', () => {
  const agreed = ['build', 'cmd', 'internal', 'test', 'ttrpc'];
  agreed.push('Makefile', 'README.md', 'package.json', 'tsconfig.json');
  const mustBeThere = ['.ci', '.gitignore', '.npmrc', 'LICENSE', 'biome.json', 'package-lock.json'];
  const top = [...new Set(files.map((path) => path.split('/')[0] ?? ''))];
  assert.deepEqual(top.sort(), [...agreed, ...mustBeThere].sort());
});

/** Tables: long because the thing they list is. None needs the exception now. */
const tables: readonly string[] = [];

test('no source file has more than 800 lines', () => {
  const long = sources.filter((path) => !tables.includes(path) && lineCount(path) > 800);
  assert.deepEqual(long, []);
});

test('a source file of more than 400 lines says at its top why it is one thing', () => {
  const code = sources.filter((path) => !path.endsWith('.test.ts'));
  const silent = code.filter((path) => {
    return lineCount(path) > 400 && !/^(?:\/\/|\/\*\*)/.test(readText(path) ?? '');
  });
  assert.deepEqual(silent, []);
});

test('no file or folder is called utils, helpers or common', () => {
  const bad = /(?:^|[/.-])(?:utils?|helpers?|common|misc|shared|manager\d)(?:[/.-]|$)/i;
  assert.deepEqual(
    files.filter((path) => bad.test(path)),
    [],
  );
});

test('source files are named in lower case, with hyphens', () => {
  const bad = sources.filter((path) => !/^[a-z0-9.-]+\.ts$/.test(path.split('/').at(-1) ?? ''));
  assert.deepEqual(bad, []);
});

test('programs are written in TypeScript', () => {
  const other = files.filter((path) => /\.(?:[cm]?jsx?|py|go|rs|c|cc|h|S|pl|rb)$/.test(path));
  assert.deepEqual(
    other.filter((path) => !received(path)),
    [],
  );
});

test('no file knows where on this machine the checkout is', () => {
  // The folder around the checkout tells too, unless it is one that every machine has.
  const around = dirname(root);
  const everywhere = [
    '/',
    '/tmp',
    '/root',
    '/home',
    '/opt',
    '/srv',
    '/mnt',
    '/usr/src',
    '/var/tmp',
  ];
  const needles = [`${root}/`, ['..', 'shared/'].join('/')];
  if (!everywhere.includes(around)) needles.push(`${around}/`);
  const found = files.filter((path) => {
    const text = readText(path) ?? '';
    return (
      needles.some((needle) => text.includes(needle)) || /\/(?:home|Users)\/[a-z]+\//.test(text)
    );
  });
  assert.deepEqual(found, []);
});

test('nothing is left to do in the code, and no error is dropped without a reason', () => {
  const marks = new RegExp(`\\b(?:${['TO', 'DO'].join('')}|${['FIX', 'ME'].join('')})\\b`);
  const problems = sources.filter((path) => {
    const text = readText(path) ?? '';
    return marks.test(text) || /catch\s*(?:\([^)]*\))?\s*\{\s*\}/.test(text);
  });
  assert.deepEqual(problems, []);
});

test('the programs and the package have one version', () => {
  const { version } = JSON.parse(readText('package.json') ?? '') as { version: string };
  const own = sources.flatMap((path) => {
    const found = /^export const VERSION = (?:.* : )?'([^']+)';$/m.exec(readText(path) ?? '');
    return found === null ? [] : [[path, found[1]] as const];
  });
  assert.ok(own.length >= 3, 'each program has one');
  for (const [path, value] of own) assert.equal(value, version, path);
});

function lineCount(path: string): number {
  return (readText(path) ?? '').split('\n').length - 1;
}
