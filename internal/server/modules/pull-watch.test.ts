import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { PullWatch } from './pull-watch.ts';

const MINUTE = 60_000;

test('PullWatch ends what makes no progress, and lets a layer be unpacked as long as it takes', () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    using watch = new PullWatch('r.test/a:1', MINUTE, '1m0s');
    const pass = (minutes: number) => mock.timers.tick(minutes * MINUTE);
    pass(0.9);
    watch.event({ event: 'downloading', name: 'layer' });
    pass(0.9);
    assert.equal(watch.signal.aborted, false);
    watch.event({ event: 'extracting', name: 'layer' });
    for (let minutes = 0; minutes < 10; minutes++) pass(1);
    assert.equal(watch.signal.aborted, false);
    watch.event({ event: 'extracted', name: 'layer' });
    pass(1);
    assert.equal(
      (watch.signal.reason as { text: string }).text,
      'pull r.test/a:1: no progress for 1m0s: ' +
        'look whether the registry and the network to it are slow, or raise image_pull_progress_timeout',
    );
  } finally {
    mock.timers.reset();
  }
});

test('PullWatch never ends anything with a timeout of 0', () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    using watch = new PullWatch('r.test/a:1', 0, '0s');
    mock.timers.tick(1000 * MINUTE);
    assert.equal(watch.signal.aborted, false);
  } finally {
    mock.timers.reset();
  }
});
