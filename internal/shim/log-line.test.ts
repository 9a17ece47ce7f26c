import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LineOptions, LineSplitter, timeText } from './log-line.ts';

// 2026-11-27T08:21:27.000000120Z, and as the local zone has it
const TIME_NS = 1795767687000000120n;
const LOCAL_HEAD = new RegExp(`^${timeText(TIME_NS, 'local').replace('+', '\\+')} `);

function lines(options: Partial<LineOptions>, pieces: readonly (string | Uint8Array)[]): string[] {
  const written: string[] = [];
  const splitter = new LineSplitter(
    {
      format: 'cri',
      stream: 'stdout',
      maxLineBytes: 16,
      lastTag: 'P',
      tags: [],
      labels: new Map(),
      ...options,
    },
    {
      line: (...parts) => {
        const text = Buffer.concat(parts).toString('latin1');
        assert.ok(text.endsWith('\n'));
        written.push(text.slice(0, -1).replace(LOCAL_HEAD, 'T '));
      },
    },
  );
  for (const piece of pieces) splitter.push(Buffer.from(piece), TIME_NS);
  splitter.finish(TIME_NS);
  return written;
}

const sixteen = '0123456789abcdef';

// What containerd 2.1 writes for the same bytes (internal/cri/io/logger.go), its limit being 16.
const golden: [name: string, pieces: (string | Uint8Array)[], expected: string[]][] = [
  ['nothing', [], []],
  ['one line', ['a\n'], ['T stdout F a']],
  ['two lines in one piece', ['a\nb\n'], ['T stdout F a', 'T stdout F b']],
  ['a line in three pieces', ['a', 'b', 'c\n'], ['T stdout F abc']],
  ['empty lines', ['\n\n'], ['T stdout F ', 'T stdout F ']],
  ['a last line without newline', ['a\nb'], ['T stdout F a', 'T stdout P b']],
  ['a return before the newline', ['a\r\n'], ['T stdout F a']],
  ['a return and newline in two pieces', ['a\r', '\n'], ['T stdout F a']],
  ['one of two returns', ['a\r\r\n'], ['T stdout F a\r']],
  ['a return inside', ['a\rb\n'], ['T stdout F a\rb']],
  ['a return at the very end', ['a\r'], ['T stdout P a\r']],
  ['only a return', ['\r\n'], ['T stdout F ']],
  ['just as long as allowed', [`${sixteen}\n`], [`T stdout F ${sixteen}`]],
  ['just as long, with a return', [`${sixteen}\r\n`], [`T stdout F ${sixteen}`]],
  ['just as long, return and newline apart', [`${sixteen}\r`, '\n'], [`T stdout F ${sixteen}`]],
  ['just as long, without newline', [sixteen], [`T stdout P ${sixteen}`]],
  ['longer by one', [`${sixteen}g\n`], [`T stdout P ${sixteen}`, 'T stdout F g']],
  ['longer by one, apart', [sixteen, 'g', '\n'], [`T stdout P ${sixteen}`, 'T stdout F g']],
  [
    'longer by a return that stays',
    [`${sixteen}\r`, 'x\n'],
    [`T stdout P ${sixteen}`, 'T stdout F \rx'],
  ],
  ['longer by a return at the end', [`${sixteen}\r`], [`T stdout P ${sixteen}`, 'T stdout P \r']],
  [
    'three times as long',
    [`${sixteen}${sixteen}${sixteen}\nz\n`],
    [`T stdout P ${sixteen}`, `T stdout P ${sixteen}`, `T stdout F ${sixteen}`, 'T stdout F z'],
  ],
  ['bytes that are no text', [Uint8Array.of(0xff, 0, 0x80, 0x0a)], ['T stdout F \xff\0\x80']],
];

for (const [name, pieces, expected] of golden) {
  test(`LineSplitter writes ${name} as containerd does`, () => {
    assert.deepEqual(lines({}, pieces), expected);
  });

  test(`LineSplitter writes ${name} the same byte by byte`, () => {
    const bytes = Buffer.concat(pieces.map((piece) => Buffer.from(piece)));
    const single = [...bytes].map((byte) => Uint8Array.of(byte));
    assert.deepEqual(lines({}, single), expected);
  });
}

test('LineSplitter says the stream, further tags, and F for a last line if it shall', () => {
  const options = { stream: 'stderr', tags: ['x', 'y'], lastTag: 'F' } as const;
  assert.deepEqual(lines(options, [`${sixteen}a\nb`]), [
    `T stderr P:x:y ${sixteen}`,
    'T stderr F:x:y a',
    'T stderr F:x:y b',
  ]);
});

test('LineSplitter writes JSON as Docker does', () => {
  const written = lines({ format: 'json', labels: new Map([['k', 'v']]) }, ['say "hi"\r\nrest']);
  const time = '2026-11-27T08:21:27.00000012Z';
  assert.deepEqual(
    written.map((line) => JSON.parse(line)),
    [
      { log: 'say "hi"\r\n', stream: 'stdout', attrs: { k: 'v' }, time },
      { log: 'rest', stream: 'stdout', attrs: { k: 'v' }, time },
    ],
  );
});

test('LineSplitter cuts no character of a JSON line in two', () => {
  const text = 'ää€€𝄞𝄞ää€€𝄞𝄞ää'; // 2 + 2 + 3 + 3 + 4 | 4 + …
  for (let split = 0; split <= Buffer.byteLength(text); split++) {
    const bytes = Buffer.from(`${text}\n`);
    const written = lines({ format: 'json' }, [bytes.subarray(0, split), bytes.subarray(split)]);
    const logs = written.map(
      (line) => (JSON.parse(Buffer.from(line, 'latin1').toString()) as { log: string }).log,
    );
    assert.deepEqual(logs.join(''), `${text}\n`, `split at ${split}`);
    assert.ok(logs.every((log) => Buffer.byteLength(log) <= 17));
  }
});

test('timeText drops the zeros at the end', () => {
  assert.equal(timeText(1795767687000000000n, 'utc'), '2026-11-27T08:21:27Z');
  assert.equal(timeText(1795767687120000000n, 'utc'), '2026-11-27T08:21:27.12Z');
  assert.match(
    timeText(1795767687000000001n, 'local'),
    /T\d\d:\d\d:27\.000000001(?:Z|[+-]\d\d:\d\d)$/,
  );
});
