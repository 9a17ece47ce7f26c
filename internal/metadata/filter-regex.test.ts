import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileRegex } from './filter-regex.ts';

const matches: [source: string, yes: string[], no: string[]][] = [
  ['^foo', ['foobar'], ['xfoo']],
  ['a|b', ['xb'], ['c']],
  ['^a{3}$', ['aaa'], ['aa', 'aaaa']],
  ['^a{1,2}$', ['a', 'aa'], ['', 'aaa']],
  ['^(ab|c){2,}$', ['abc', 'cccc'], ['c', 'ab']],
  ['^[a-f0-9]{64}$', ['0af9'.repeat(16)], ['g'.repeat(64), 'a'.repeat(63)]],
  ['^x{0}y$', ['y'], ['xy']],
  ['a{,2}', ['a{,2}'], ['aa']],
  ['(?i)^Caf[e-g]$', ['cAFE', 'caff'], ['cafz']],
  ['(?i)^[^a-c]$', ['d', 'D'], ['B', 'b']],
  ['(?s)^a.b$', ['a\nb'], ['ab']],
  ['(?m)^b$', ['a\nb'], ['ab']],
  ['^(?P<name>a+)(?<other>b)$', ['aab'], ['b']],
  ['^[[:alpha:]_]+$', ['ab_C'], ['a1']],
  ['^[]a]+$', ['a]'], ['b']],
  ['^[a\\-\\]z-]+$', ['-]az'], ['b']],
  ['\\Aa\\z', ['a'], ['ab']],
  ['^docker\\.io/.*:latest$', ['docker.io/x:latest'], ['dockerxio/x:latest']],
  ['^\\w+\\s\\d$', ['ab 1'], ['ab1']],
];
for (const [source, yes, no] of matches) {
  test(`compileRegex: ${source}`, () => {
    const regex = compileRegex(source);
    for (const text of yes) assert.ok(regex.test(text), JSON.stringify(text));
    for (const text of no) assert.ok(!regex.test(text), JSON.stringify(text));
  });
}

const refused: [source: string, reason: string][] = [
  ['(a', 'missing closing )'],
  ['a)', 'unexpected )'],
  ['[a', 'missing closing ]'],
  ['*', 'nothing to repeat before *'],
  ['a**', 'nothing to repeat before *'],
  ['a{2}{3}', 'nothing to repeat before {'],
  ['a{1001}', 'repetition {1001} is not within 0 to 1000'],
  ['(a{100}){100}', 'regular expression is too large'],
  ['(?=a)', 'unsupported group (?=a'],
  ['(?i:a)', 'unsupported group (?i:'],
  ['(a)\\1', 'unsupported escape \\1'],
  ['\\pL', 'unsupported escape \\p'],
  ['(?m)a\\z', 'unsupported escape \\z'],
  ['[\\pL]', 'unsupported escape \\p in [ ]'],
  ['[[:graph:]]', 'unsupported class [:graph:]'],
  ['(?i)é', 'unsupported (?i) for é'],
  ['[z-a]', 'malformed range in [ ]'],
];
for (const [source, message] of refused) {
  test(`compileRegex: ${source} is refused`, () => {
    assert.throws(() => compileRegex(source), { message });
  });
}

for (const source of [
  '^(a+)+$',
  '^(a|a)*$',
  '^(a|aa)+$',
  'a*a*a*a*a*b',
  '(?i)^(A+)+$',
  '(x+x+)+y',
]) {
  test(`compileRegex: ${source} takes linear time`, () => {
    const regex = compileRegex(source);
    const startMs = performance.now();
    assert.equal(regex.test(`${'a'.repeat(4000)}!`), false);
    assert.ok(performance.now() - startMs < 1000);
  });
}
