import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { errnoName, TsError } from './index.ts';

test('TsError.from: a system error keeps its errno, path and kind', () => {
  try {
    readFileSync('/nonexistent/file');
    assert.fail('reading succeeded');
  } catch (thrown) {
    const error = TsError.from(thrown, 'read config.json');
    assert.equal(error.message, 'read config.json: ENOENT');
    assert.equal(error.kind, 'NotFound');
    assert.deepEqual(error.fields, { errno: 'ENOENT', path: '/nonexistent/file' });
  }
});

test('TsError.within: each level adds what it knows and keeps kind, code and advice', () => {
  const inner = new TsError('FailedPrecondition', 'write cgroup.procs: EBUSY', {
    code: 'TS_CGROUP_BUSY',
    advice: 'stop the processes of the cgroup',
    fields: { pid: 7 },
  });
  const outer = inner.within('create "web"');
  assert.equal(outer.message, 'create "web": write cgroup.procs: EBUSY');
  assert.equal(outer.kind, 'FailedPrecondition');
  assert.equal(outer.code, 'TS_CGROUP_BUSY');
  assert.equal(
    outer.text,
    'create "web": write cgroup.procs: EBUSY: stop the processes of the cgroup',
  );
  assert.deepEqual(outer.fields, { pid: 7 });
});

for (const [number, name] of [
  [1, 'EPERM'],
  [38, 'ENOSYS'],
  [4095, 'errno 4095'],
] as const) {
  test(`errnoName: ${number} is ${name}`, () => assert.equal(errnoName(number), name));
}
