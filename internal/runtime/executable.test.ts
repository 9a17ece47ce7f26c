import assert from 'node:assert/strict';
import { test } from 'node:test';
import { searchExecutable } from './executable.ts';

test('searchExecutable: a name is looked for in PATH, the last one counts', () => {
  assert.deepEqual(searchExecutable('ls', ['PATH=/x', 'PATH=/bin:/usr/bin']), {
    name: 'ls',
    candidates: ['/bin/ls', '/usr/bin/ls'],
    notFound: 'exec: "ls": executable file not found in $PATH (/bin:/usr/bin)',
  });
});

test('searchExecutable: an empty part of PATH is the working directory', () => {
  assert.deepEqual(searchExecutable('ls', ['PATH=:/bin']).candidates, ['./ls', '/bin/ls']);
});

test('searchExecutable: a path is taken as it is', () => {
  assert.deepEqual(searchExecutable('./a b', []), {
    name: './a b',
    candidates: ['./a b'],
    notFound: 'exec: "./a b": stat ./a b',
  });
});

test('searchExecutable: without PATH the usual directories, and the error says so', () => {
  const { candidates, notFound } = searchExecutable('x', []);
  assert.equal(candidates[0], '/usr/local/sbin/x');
  assert.match(
    notFound,
    /^exec: "x": executable file not found in \$PATH \(.* as PATH is not set\)$/,
  );
});
