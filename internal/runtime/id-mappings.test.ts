import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isOwnIdOnly, mappingLines, maySetGroups } from './id-mappings.ts';

test('mappingLines: inside, outside, count', () => {
  assert.equal(
    mappingLines([
      { containerID: 0, hostID: 1000, size: 1 },
      { containerID: 1, hostID: 100000, size: 65535 },
    ]),
    '0 1000 1\n1 100000 65535\n',
  );
});

const OWN = [{ containerID: 0, hostID: 1000, size: 1 }];
const RANGE = [{ containerID: 0, hostID: 100000, size: 65536 }];

test("isOwnIdOnly: a single id, the caller's", () => {
  assert.equal(isOwnIdOnly(OWN, 1000), true);
  assert.equal(isOwnIdOnly(OWN, 1001), false);
  assert.equal(isOwnIdOnly(RANGE, 100000), false);
  assert.equal(isOwnIdOnly([...OWN, ...RANGE], 1000), false);
});

test('maySetGroups: root may, a user who maps only himself may not', () => {
  assert.equal(maySetGroups({ gidMappings: OWN }, { uid: 0, gid: 0 }), true);
  assert.equal(maySetGroups({ gidMappings: OWN }, { uid: 1000, gid: 1000 }), false);
  assert.equal(maySetGroups({ gidMappings: RANGE }, { uid: 1000, gid: 1000 }), true);
});
