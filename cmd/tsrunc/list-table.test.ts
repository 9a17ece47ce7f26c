import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listTable } from './list-table.ts';

test('listTable: narrow columns are 12 wide, wide ones have three blanks after them', () => {
  const row = {
    ociVersion: '1.2.1',
    id: 'a-rather-long-identifier',
    pid: 7,
    status: 'running',
    bundle: '/b',
    rootfs: '/b/rootfs',
    created: '2026-01-02T03:04:05.006Z',
    owner: 'root',
  } as const;
  assert.equal(
    listTable([row]),
    'ID                         PID         STATUS      BUNDLE      CREATED                    OWNER\n' +
      'a-rather-long-identifier   7           running     /b          2026-01-02T03:04:05.006Z   root\n',
  );
});
