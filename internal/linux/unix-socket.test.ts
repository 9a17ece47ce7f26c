import assert from 'node:assert/strict';
import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { waitReadable } from './poll.ts';
import { runInChild } from './program/child-run.fixture.ts';
import { close, open } from './steps/files.ts';
import { connectUnix as connectStep, createSocket, FdMessage } from './steps/sockets.ts';
import {
  acceptUnix,
  connectUnix,
  listenUnix,
  peerCredentials,
  receiveFds,
  sendFds,
} from './unix-socket.ts';

async function withDirectory(action: (directory: string) => Promise<void> | void): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'socket-'));
  try {
    await action(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('sendFds and receiveFds: data and descriptors, which are the same files', () =>
  withDirectory(async (directory) => {
    const path = join(directory, 'socket');
    using listener = listenUnix(path);
    using client = connectUnix(path);
    await waitReadable(listener.number);
    using server = acceptUnix(listener);
    assert.deepEqual(peerCredentials(server.number), {
      pid: process.pid,
      uid: process.getuid?.(),
      gid: process.getgid?.(),
    });
    const file = openSync('/etc/passwd', 'r');
    const device = openSync('/dev/null', 'r');
    sendFds(client.number, Buffer.from('two'), [file, device]);
    closeSync(file);
    closeSync(device);
    const message = receiveFds(server.number);
    assert.equal(message.data.toString(), 'two');
    assert.equal(message.fds.length, 2);
    const [first, second] = message.fds;
    assert.equal(fstatSync(first?.number ?? -1).ino, statSync('/etc/passwd').ino);
    assert.equal(fstatSync(second?.number ?? -1).rdev, statSync('/dev/null').rdev);
    for (const fd of message.fds) fd.close();
    client.close();
    assert.equal(receiveFds(server.number).data.length, 0, 'end of the stream');
  }));

test('receiveFds: too many descriptors are refused and none is kept', () =>
  withDirectory(async (directory) => {
    const path = join(directory, 'socket');
    using listener = listenUnix(path);
    using client = connectUnix(path);
    using server = acceptUnix(listener);
    const before = readdirSync('/proc/self/fd').length;
    sendFds(client.number, Buffer.from('x'), new Array(17).fill(1));
    assert.throws(() => receiveFds(server.number), {
      message: 'receive file descriptors: more than 16 in one message',
    });
    assert.equal(readdirSync('/proc/self/fd').length, before);
  }));

test('a program sends an fd that it has opened to a console socket', () =>
  withDirectory((directory) => {
    const path = join(directory, 'console.sock');
    using listener = listenUnix(path);
    const { failure } = runInChild((child) => {
      const message = new FdMessage();
      const opened = child.add(open({ path: '/etc/passwd', flags: ['O_RDONLY'] }), {
        into: message.fd,
      });
      const socket = child.add(createSocket('AF_UNIX', 'SOCK_STREAM'));
      child.add(connectStep(socket, path));
      child.add(message.send(socket, '/dev/ptmx'));
      child.add(close(opened));
    });
    assert.equal(failure, undefined);
    using server = acceptUnix(listener);
    const { data, fds } = receiveFds(server.number);
    assert.equal(data.toString(), '/dev/ptmx');
    assert.equal(fstatSync(fds[0]?.number ?? -1).ino, statSync('/etc/passwd').ino);
    for (const fd of fds) fd.close();
  }));

for (const path of ['', '/x'.repeat(54), 'a\0b']) {
  test(`socket paths: ${JSON.stringify(path.slice(0, 8))} of ${path.length} characters is refused`, () => {
    assert.throws(() => listenUnix(path), {
      kind: 'InvalidArgument',
      message: /is not 1 to 107 bytes$/,
    });
  });
}

test('listenUnix, connectUnix: errors name the path', () =>
  withDirectory((directory) => {
    const path = join(directory, 'nobody');
    assert.throws(() => connectUnix(path), { message: `connect to ${path}: ENOENT` });
    using listener = listenUnix(path);
    assert.throws(() => listenUnix(path), { message: `bind ${path}: EADDRINUSE` });
    assert.throws(() => acceptUnix(listener), { message: 'accept a connection: EAGAIN' });
  }));
