import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../flags/flag-parser.ts';
import { COMMANDS } from './command-table.ts';
import { parseCommandLine, UnknownCommand } from './invocation.ts';

const PROGRAM = { version: '1.2.3', revision: 'abc' };

function parse(line: string) {
  const parsed = parseCommandLine(line.split(' '), COMMANDS, PROGRAM);
  if (typeof parsed === 'string') return parsed.split('\n', 2).join('|');
  return { name: parsed.command.name, args: parsed.args, flags: parsed.flags };
}

test('flags of all levels: before the command, between, and behind it', () => {
  const parsed = parse(
    '-n k8s.io snapshots --snapshotter native ls --format json -a /x labels.a==b',
  );
  assert.ok(typeof parsed === 'object');
  assert.equal(parsed.name, 'list');
  assert.deepEqual(parsed.args, ['labels.a==b']);
  assert.equal(parsed.flags.string('namespace'), 'k8s.io');
  assert.equal(parsed.flags.string('snapshotter'), 'native');
  assert.equal(parsed.flags.string('format'), 'json');
  assert.equal(parsed.flags.string('address'), '/x');
});

test('what follows the id of a container is its program, flags included', () => {
  const parsed = parse('run --rm -t -e image id /bin/sh -c -n'.replace(' -e', ''));
  assert.ok(typeof parsed === 'object');
  assert.deepEqual(parsed.args, ['image', 'id', '/bin/sh', '-c', '-n']);
});

test('a flag of the command wins over a global one of the same letter', () => {
  const parsed = parse('tasks kill -a -s KILL web');
  assert.ok(typeof parsed === 'object');
  assert.deepEqual([parsed.flags.bool('all'), parsed.args], [true, ['web']]);
});

for (const [line, text] of [
  ['--version', 'tsctr 1.2.3 abc|'],
  ['--help', 'NAME:|   tsctr - client of tscontainerd, and of any containerd'],
  ['images', 'NAME:|   tsctr images - images'],
  ['help images', 'NAME:|   tsctr images - images'],
  ['images help ls', 'NAME:|   tsctr images list - list images'],
  ['i ls -h', 'NAME:|   tsctr images list - list images'],
] as const) {
  test(`text of ${line}`, () => assert.equal(parse(line), text));
}

for (const [line, error, text] of [
  ['imges ls', UnknownCommand, 'no command "imges" in "tsctr": did you mean "tsctr images"?'],
  [
    'images lst',
    UnknownCommand,
    'no command "lst" in "tsctr images": did you mean "tsctr images list"?',
  ],
  ['xyzzy', UnknownCommand, 'no command "xyzzy" in "tsctr": see tsctr --help'],
  ['images ls --quit', UsageError, 'flag provided but not defined: -quit: did you mean --quiet?'],
  [
    'images rm ref --synk',
    UsageError,
    'flag provided but not defined: -synk: did you mean --sync?',
  ],
  ['images ls --xyzzy', UsageError, 'flag provided but not defined: -xyzzy'],
  ['-n', UsageError, 'flag needs an argument: -n'],
  ['run --cpus half image id', UsageError, 'invalid value "half" for flag -cpus: parse error'],
] as const) {
  test(`refused: ${line}`, () => {
    assert.throws(
      () => parse(line),
      (thrown) => {
        assert.ok(thrown instanceof error);
        assert.equal(thrown.message, text);
        return true;
      },
    );
  });
}
