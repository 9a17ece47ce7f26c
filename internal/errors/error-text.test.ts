import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorText } from './error-text.ts';
import { TsError } from './index.ts';

test('errorText: the errno is explained, advice follows', () => {
  const error = new TsError('PermissionDenied', 'mount proc on /proc: EPERM', {
    advice: 'be root',
  });
  assert.equal(errorText(error), 'mount proc on /proc: EPERM (operation not permitted): be root');
});

test('errorText: an error without an errno stays as it is', () => {
  const text = 'exec: "foo": executable file not found in $PATH';
  assert.equal(errorText(new TsError('NotFound', text)), text);
});

test('errorText: failures of the clean-up are told after the error', () => {
  const error = new TsError('Unknown', 'mount x: EINVAL');
  error.cleanup.push(new Error('remove cgroup /a: EBUSY'));
  assert.equal(
    errorText(error),
    'mount x: EINVAL (invalid argument); then clean-up: remove cgroup /a: EBUSY',
  );
});
