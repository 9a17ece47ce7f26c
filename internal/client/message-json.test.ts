import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goJson } from './go-json.ts';
import { goTime, jsonOf, rfc3339 } from './message-json.ts';

const NS = 1_795_794_832_144_019_820n;

test('times as Go prints them: no zeros at the end, none at all of a whole second', () => {
  assert.equal(rfc3339(NS), '2026-11-27T15:53:52.14401982Z');
  assert.equal(goTime(NS), '2026-11-27 15:53:52.14401982 +0000 UTC');
  assert.equal(rfc3339(1_795_794_832_000_000_000n), '2026-11-27T15:53:52Z');
});

const MESSAGE = {
  containerId: 'web',
  labels: new Map([['a', 'b']]),
  createdAt: { seconds: 1_795_794_832n, nanos: 0 },
  spec: { typeUrl: 'types.containerd.io/x', value: Buffer.from('{"a":1}') },
  options: { typeUrl: 'other', value: Buffer.from([1, 2]) },
  missing: undefined,
  none: '',
};

test('jsonOf: maps, times, documents inside of an Any, other bytes', () => {
  assert.deepEqual(jsonOf(MESSAGE), {
    containerId: 'web',
    labels: { a: 'b' },
    createdAt: '2026-11-27T15:53:52Z',
    spec: { typeUrl: 'types.containerd.io/x', value: { a: 1 } },
    options: { typeUrl: 'other', value: 'AQI=' },
    none: '',
  });
});

test('goJson: names with underscores, nothing that is empty', () => {
  assert.deepEqual(goJson({ ...MESSAGE, spec: undefined }), {
    container_id: 'web',
    labels: { a: 'b' },
    created_at: { seconds: 1_795_794_832n },
    options: { type_url: 'other', value: 'AQI=' },
  });
});
