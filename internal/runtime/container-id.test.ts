import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkContainerId } from './container-id.ts';

for (const id of ['a', 'web-1', 'A_b+c.d', '...', '0'.repeat(255)]) {
  test(`checkContainerId accepts ${id.slice(0, 20)}`, () => checkContainerId(id));
}

for (const id of ['', '.', '..', 'a/b', '../x', '/x', 'a b', 'ä', 'a\n', 'a\0', 'x'.repeat(256)]) {
  test(`checkContainerId refuses ${JSON.stringify(id).slice(0, 20)}`, () => {
    assert.throws(() => checkContainerId(id), {
      kind: 'InvalidArgument',
      message: `container id ${JSON.stringify(id)}: invalid container ID format`,
    });
  });
}
