import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IdleMemory } from '../linux/idle-memory.ts';
import { idleCalls } from './idle-calls.ts';

test('idleCalls: memory is given back once the last call has ended, and metrics hear of it all', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let releases = 0;
  using memory = new IdleMemory({ quietMs: 100, pauseMs: 0, release: () => releases++ });
  const heard: string[] = [];
  const observer = idleCalls(memory, {
    begin(path, kind) {
      heard.push(`${path} ${kind}`);
      return {
        received: () => heard.push('received'),
        sent: () => heard.push('sent'),
        ended: (code) => heard.push(`ended ${code}`),
      };
    },
  });
  const call = observer.begin('/a/b', 'unary');
  call.received();
  call.sent();
  context.mock.timers.tick(60);
  call.ended(5);
  context.mock.timers.tick(60);
  assert.equal(releases, 0);
  context.mock.timers.tick(40);
  assert.equal(releases, 1);
  assert.deepEqual(heard, ['/a/b unary', 'received', 'sent', 'ended 5']);
});

test('idleCalls: without metrics', () => {
  using memory = new IdleMemory({ release: () => assert.fail('too early') });
  idleCalls(memory, undefined).begin('/a/b', 'bidi').ended(0);
});
