import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resourcesOfOptions } from './resource-options.ts';

const none = { blkioWeight: undefined, pidsLimit: undefined };

const SIZES: [string, bigint][] = [
  ['1048576', 1048576n],
  ['512m', 536870912n],
  ['1.5g', 1610612736n],
  ['2GiB', 2147483648n],
  ['10KB', 10240n],
  ['-1', -1n],
];
for (const [text, bytes] of SIZES) {
  test(`resourcesOfOptions: --memory ${text}`, () => {
    assert.deepEqual(resourcesOfOptions({ texts: { memory: text }, ...none }).memory, {
      limit: bytes,
    });
  });
}

const REFUSED: [string, string, string][] = [
  ['memory', '1x', '--memory "1x" is not a size'],
  ['memory', '-2', '--memory "-2" is not a size'],
  ['memory', '8388608t', '--memory "8388608t" is more than 2^63 - 1 bytes'],
  ['cpu-quota', '1.5', '--cpu-quota "1.5" is not a number'],
];
for (const [name, text, message] of REFUSED) {
  test(`resourcesOfOptions refuses --${name} ${text}`, () => {
    assert.throws(() => resourcesOfOptions({ texts: { [name]: text }, ...none }), { message });
  });
}

test('resourcesOfOptions: only what is given is there', () => {
  assert.deepEqual(
    resourcesOfOptions({ texts: { 'cpu-share': '' }, blkioWeight: 0, pidsLimit: 0 }),
    { cpu: {}, memory: {}, pids: { limit: 0n } },
  );
});
