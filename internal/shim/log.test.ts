import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TsError } from '../errors/index.ts';
import { createShimLog, formatLogLine } from './log.ts';

const time = new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 6));

test('formatLogLine quotes what is not a plain word', () => {
  assert.equal(
    formatLogLine(time, 'info', 'started "it"', { id: 'a-b', text: 'two words', none: undefined }),
    'time="2026-01-02T03:04:05.006Z" level=info msg="started \\"it\\"" id=a-b text="two words"\n',
  );
});

test('formatLogLine keeps a value with newlines on its line', () => {
  const line = formatLogLine(time, 'error', 'a\nb', { c: 'd\ne' });
  assert.equal(line.indexOf('\n'), line.length - 1);
});

test('formatLogLine gives an error with its advice and the failures of its clean-up', () => {
  const error = new TsError('Unknown', 'mount overlay on /x: EPERM', { advice: 'be root' });
  error.cleanup.push(new Error('umount /x: EBUSY'));
  assert.match(
    formatLogLine(time, 'warning', 'm', { error }),
    / error="mount overlay on \/x: EPERM: be root; clean-up: umount \/x: EBUSY"\n$/,
  );
});

test('createShimLog drops debug lines unless asked for', () => {
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  createShimLog(false, { id: 'a' }, write).debug('quiet');
  createShimLog(true, { id: 'a' }, write).debug('loud', { n: 1 });
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', / level=debug msg="loud" id=a n=1\n$/);
});
