import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FlagSpecs, parseFlags } from './flag-parser.ts';

const SPECS: FlagSpecs = {
  bundle: { type: 'string', short: 'b', usage: '' },
  detach: { type: 'bool', short: 'd', usage: '' },
  'preserve-fds': { type: 'int', usage: '' },
  env: { type: 'string[]', short: 'e', usage: '' },
};

const ACCEPTED: [string[], Record<string, unknown>, string[]][] = [
  [['-bundle', '/b', 'id'], { bundle: '/b' }, ['id']],
  [['--bundle=/b', 'id'], { bundle: '/b' }, ['id']],
  [['-b', '/b', '-d', 'id'], { bundle: '/b', detach: true }, ['id']],
  [['--detach=false', 'id'], { detach: false }, ['id']],
  [['id', '--detach'], { detach: true }, ['id']],
  [['--', '--detach'], {}, ['--detach']],
  [['-e', 'A=1', '-e', 'B=2,3'], { env: ['A=1', 'B=2,3'] }, []],
  [['--preserve-fds', '2'], { 'preserve-fds': 2 }, []],
  [['--preserve-fds', '0x1F'], { 'preserve-fds': 31 }, []],
  [['--preserve-fds', '010'], { 'preserve-fds': 8 }, []],
  [['--preserve-fds', '-1_000'], { 'preserve-fds': -1000 }, []],
  [['-'], {}, ['-']],
  [['id', '--nope'], {}, ['id', '--nope']],
  [['id', '--bundle'], {}, ['id', '--bundle']],
];
for (const [argv, values, positional] of ACCEPTED) {
  test(`parseFlags accepts ${JSON.stringify(argv)}`, () => {
    const parsed = parseFlags(argv, SPECS, { interspersed: true });
    assert.deepEqual(parsed.positional, positional);
    for (const [name, value] of Object.entries(values)) {
      const read = {
        bundle: () => parsed.flags.string(name),
        detach: () => parsed.flags.bool(name),
        'preserve-fds': () => parsed.flags.number(name),
        env: () => parsed.flags.strings(name),
      }[name];
      assert.deepEqual(read?.(), value);
    }
  });
}

test('parseFlags stops at the first positional argument when not interspersed', () => {
  const parsed = parseFlags(['-d', 'id', 'ls', '-e'], SPECS, { interspersed: false });
  assert.deepEqual(parsed.positional, ['id', 'ls', '-e']);
});

const REFUSED: [string[], string][] = [
  [['--nope'], 'flag provided but not defined: -nope'],
  [['---detach'], 'bad flag syntax: ---detach'],
  [['--bundle'], 'flag needs an argument: -bundle'],
  [['--preserve-fds', '09'], 'invalid value "09" for flag -preserve-fds: parse error'],
  [['--preserve-fds', 'x'], 'invalid value "x" for flag -preserve-fds: parse error'],
  [['--detach=maybe'], 'invalid boolean value "maybe" for -detach: parse error'],
];
for (const [argv, message] of REFUSED) {
  test(`parseFlags refuses ${JSON.stringify(argv)}`, () => {
    assert.throws(() => parseFlags(argv, SPECS, { interspersed: true }), { message });
  });
}
