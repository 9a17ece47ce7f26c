import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatTable, SPACES, TABS, WIDE } from './table.ts';

test('formatTable: columns are as wide as their widest cell, the last cell as it is', () => {
  const rows = [
    ['NAME', 'LABELS', ''],
    ['a-long-name', 'a=1', ''],
    ['b', '', ''],
  ];
  assert.equal(
    formatTable(rows, SPACES),
    'NAME        LABELS \na-long-name a=1    \nb                  \n',
  );
});

test('formatTable: four spaces between wide columns, none behind an unfinished row', () => {
  const rows = [
    ['TASK', 'PID', 'STATUS', ''],
    ['r2', '3259', 'RUNNING'],
  ];
  assert.equal(formatTable(rows, WIDE), 'TASK    PID     STATUS    \nr2      3259    RUNNING\n');
});

test('formatTable: tabs to columns of eight', () => {
  const rows = [
    ['REF', 'SIZE', 'AGE', ''],
    ['upload-12345', '1.5kB', '2 seconds', ''],
  ];
  assert.equal(formatTable(rows, TABS), 'REF\t\tSIZE\tAGE\t\t\nupload-12345\t1.5kB\t2 seconds\t\n');
});

test('formatTable: a row without a column ends it', () => {
  const rows = [['aaaa', 'x'], [''], ['b', 'y']];
  assert.equal(formatTable(rows, SPACES), 'aaaa x\n\nb y\n');
});

test('formatTable: characters count, not UTF-16 units', () => {
  assert.equal(
    formatTable(
      [
        ['😀', 'x'],
        ['ab', 'y'],
      ],
      SPACES,
    ),
    '😀  x\nab y\n',
  );
});

test('formatTable: no rows, no text', () => assert.equal(formatTable([], SPACES), ''));
