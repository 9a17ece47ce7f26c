import assert from 'node:assert/strict';
import { readlinkSync, readSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import {
  disableOutputProcessing,
  openPty,
  openPtyPeer,
  ptyNumber,
  setWindowSize,
  windowSize,
} from './pty.ts';

const skip = ((): string | false => {
  try {
    openPty().close();
    return false;
  } catch (thrown) {
    return `no pseudo-terminals here: ${String(thrown)}`;
  }
})();

test('openPty: the peer is the terminal of that number, and both ends talk', { skip }, () => {
  using master = openPty();
  using peer = openPtyPeer(master.number);
  assert.equal(
    readlinkSync(`/proc/self/fd/${peer.number}`),
    `/dev/pts/${ptyNumber(master.number)}`,
  );
  const read = (fd: number) => {
    const buffer = Buffer.alloc(64);
    return buffer.toString('latin1', 0, readSync(fd, buffer));
  };
  writeSync(peer.number, 'a\n');
  assert.equal(read(master.number), 'a\r\n');
  disableOutputProcessing(peer.number);
  writeSync(peer.number, 'b\n');
  assert.equal(read(master.number), 'b\n');
  writeSync(master.number, 'c\n');
  assert.equal(read(peer.number), 'c\n');
});

test('setWindowSize: seen from the other end', { skip }, () => {
  using master = openPty();
  using peer = openPtyPeer(master.number);
  setWindowSize(master.number, { columns: 132, rows: 50 });
  assert.deepEqual(windowSize(peer.number), { columns: 132, rows: 50 });
});

test('openPty: errors name the multiplexer', () => {
  assert.throws(() => openPty('/nonexistent/ptmx'), { message: 'open /nonexistent/ptmx: ENOENT' });
  assert.throws(() => openPty('/dev/null'), { message: 'unlock pseudo-terminal: ENOTTY' });
});
