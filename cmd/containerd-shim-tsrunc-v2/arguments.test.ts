import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseArguments } from './arguments.ts';

const none = { namespace: '', id: '', address: '', bundle: '', socket: '', isDebug: false };

test('parseArguments reads what containerd passes', () => {
  const args = ['-namespace', 'k8s.io', '-address', '/a.sock', '-publish-binary', '', '-id', 'x'];
  const flags = { ...none, namespace: 'k8s.io', address: '/a.sock', id: 'x' };
  assert.deepEqual(parseArguments([...args, 'start']), { verb: 'start', flags });
  assert.deepEqual(parseArguments([...args, '-debug', '-bundle', '/b', 'delete']), {
    verb: 'delete',
    flags: { ...flags, isDebug: true, bundle: '/b' },
  });
  assert.deepEqual(parseArguments([...args, '-socket=unix:///s']), {
    verb: 'serve',
    flags: { ...flags, socket: 'unix:///s' },
  });
});

test('parseArguments takes Go spellings', () => {
  assert.deepEqual(parseArguments(['--namespace=a', '--id', 'b', '--debug=false', '--', 'start']), {
    verb: 'start',
    flags: { ...none, namespace: 'a', id: 'b' },
  });
  assert.equal(parseArguments(['-v']).verb, 'version');
  assert.equal(parseArguments(['-version']).verb, 'version');
  assert.equal(parseArguments(['-info']).verb, 'info');
});

const refused: [args: string[], message: string][] = [
  [['-id', 'a', 'start'], 'shim namespace cannot be empty'],
  [['-namespace', 'a', 'start'], 'shim id cannot be empty'],
  [['-namespace'], 'flag needs an argument: -namespace'],
  [['-other', 'start'], 'flag provided but not defined: -other'],
  [['-debug=maybe'], 'invalid boolean value "maybe" for -debug'],
  [['-namespace', 'a', '-id', 'b', 'stop'], 'unknown command: stop'],
  [['-namespace', 'a', '-id', 'b', 'start', 'now'], 'unknown command: start now'],
];

for (const [args, message] of refused) {
  test(`parseArguments refuses ${args.join(' ')}`, () => {
    assert.throws(() => parseArguments(args), { message });
  });
}
