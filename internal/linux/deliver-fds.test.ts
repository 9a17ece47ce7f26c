import assert from 'node:assert/strict';
import { fstatSync, mkdtempSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { deliverFds } from './deliver-fds.ts';
import type { OwnedFd } from './fd.ts';
import { acceptUnix, connectUnixNow, listenUnix, receiveFds } from './unix-socket.ts';

function withSocket(action: (path: string, listener: OwnedFd) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'deliver-'));
  try {
    const path = join(directory, 'socket');
    using listener = listenUnix(path, 1);
    action(path, listener);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('deliverFds: a listener with room gets data and descriptors at once', () =>
  withSocket((path, listener) => {
    assert.equal(deliverFds(path, Buffer.from('text'), [0, 1]).next().done, true);
    using connection = acceptUnix(listener);
    const { data, fds } = receiveFds(connection.number);
    assert.equal(data.toString(), 'text');
    assert.deepEqual(
      fds.map((fd) => fstatSync(fd.number).ino),
      [0, 1].map((fd) => fstatSync(fd).ino),
    );
    for (const fd of fds) fd.close();
  }));

test('deliverFds: one without room is asked again after a while', () =>
  withSocket((path, listener) => {
    const connections: OwnedFd[] = [];
    for (let each = connectUnixNow(path); each !== undefined; each = connectUnixNow(path)) {
      connections.push(each);
    }
    const delivery = deliverFds(path, Buffer.from('late'), []);
    for (let n = 0; n < 3; n++) {
      assert.deepEqual(delivery.next(), { done: false, value: { until: 'time', ms: 10 } });
    }
    for (const each of connections) {
      acceptUnix(listener).close();
      each.close();
    }
    assert.equal(delivery.next().done, true);
    using connection = acceptUnix(listener);
    assert.equal(receiveFds(connection.number).data.toString(), 'late');
  }));

test('deliverFds: data that a socket does not take at once arrives in parts', () =>
  withSocket((path, listener) => {
    const sent = Buffer.alloc(3 << 20, 'words ');
    const delivery = deliverFds(path, sent, [0]);
    assert.equal(delivery.next().done, false, 'the socket is full');
    using connection = acceptUnix(listener);
    const first = receiveFds(connection.number, 1000);
    for (const fd of first.fds) fd.close();
    const got = [first.data];
    const chunk = Buffer.alloc(1 << 16);
    let [length, isDone] = [first.data.length, false];
    while (length < sent.length) {
      const read = readSync(connection.number, chunk);
      got.push(Buffer.from(chunk.subarray(0, read)));
      length += read;
      if (!isDone) isDone = delivery.next().done === true;
    }
    assert.ok(Buffer.concat(got).equals(sent));
  }));

test('deliverFds: nobody listens', () => {
  const path = join(tmpdir(), 'deliver-to-nobody');
  assert.throws(() => deliverFds(path, Buffer.from('x'), []).next(), {
    message: `connect to ${path}: ENOENT`,
  });
});
