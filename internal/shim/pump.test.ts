import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  duplicateFd,
  makeFifo,
  OwnedFd,
  openPty,
  openPtyPeer,
  Pipe,
  readNow,
  setNonBlocking,
  writeNow,
} from '../linux/index.ts';
import { Pump } from './pump.ts';
import { DescriptorSink, FileSink, SinkError } from './sink.ts';

/** A pump that stands still fails its test by name. */
const LIMIT = { timeout: 30_000 };

/** Reads what comes out of a pipe until its end, `delayMs` between reads. */
async function readAll(fd: number, delayMs = 0): Promise<Buffer> {
  setNonBlocking(fd);
  const chunks: Buffer[] = [];
  const buffer = Buffer.alloc(100_000);
  for (;;) {
    const result = readNow(fd, buffer);
    if ('errno' in result) throw new Error(`errno ${result.errno}`);
    if ('bytes' in result) {
      if (result.bytes === 0) return Buffer.concat(chunks);
      chunks.push(Buffer.from(buffer.subarray(0, result.bytes)));
    }
    await new Promise((resolve) => setTimeout(resolve, delayMs));
  }
}

/** Writes in random chunks, waiting when the pipe is full. */
async function writeAll(fd: number, bytes: Buffer): Promise<void> {
  setNonBlocking(fd);
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + Math.floor(Math.random() * 9000);
    const result = writeNow(fd, bytes.subarray(at, at + length));
    if ('errno' in result) throw new Error(`write: errno ${result.errno}`);
    if ('bytes' in result) at += result.bytes;
    else await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

for (const kind of ['splice', 'copy'] as const) {
  test(`Pump carries every byte in order (${kind}) to a slow reader`, LIMIT, async () => {
    const from = new Pipe();
    const to = new Pipe();
    const sent = randomBytes(3_000_000);
    const sink = new DescriptorSink(to.writeEnd, { isPipe: kind === 'splice' });
    const pump = new Pump({ source: from.readEnd, sink });
    pump.start();
    const written = writeAll(from.writeEnd.number, sent).then(() => from.writeEnd.close());
    const received = await readAll(to.readEnd.number, 1);
    await written;
    assert.equal(received.compare(sent), 0);
    assert.equal(pump.isClosed, true);
    to.readEnd.close();
  });
}

test('Pump appends to a file and closes it after the last byte', LIMIT, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'pump-'));
  const path = join(directory, 'log');
  const from = new Pipe();
  const sink = new FileSink(new OwnedFd(openSync(path, 'a')));
  const pump = new Pump({ source: from.readEnd, sink });
  const sent = randomBytes(1_000_000);
  pump.start();
  await writeAll(from.writeEnd.number, sent);
  await pump.flush();
  assert.equal(readFileSync(path).compare(sent), 0);
  from.writeEnd.close();
  while (!pump.isClosed) await new Promise((resolve) => setImmediate(resolve));
  rmSync(directory, { recursive: true });
});

test('Pump.flush resolves while somebody still holds the source open', LIMIT, async () => {
  const from = new Pipe();
  const to = new Pipe();
  const pump = new Pump({
    source: from.readEnd,
    sink: new DescriptorSink(to.writeEnd, { isPipe: true }),
  });
  pump.start();
  writeNow(from.writeEnd.number, Buffer.from('last words'));
  await pump.flush();
  const buffer = Buffer.alloc(20);
  setNonBlocking(to.readEnd.number);
  assert.deepEqual(readNow(to.readEnd.number, buffer), { bytes: 10 });
  assert.equal(pump.isClosed, false);
  pump.close();
  from.writeEnd.close();
  to.readEnd.close();
});

test('Pump.flush waits for a reader that is behind', LIMIT, async () => {
  const from = new Pipe();
  const to = new Pipe({ nonBlocking: true });
  const full = writeNow(to.writeEnd.number, Buffer.alloc(1 << 20));
  assert.ok('bytes' in full);
  const pump = new Pump({
    source: from.readEnd,
    sink: new DescriptorSink(to.writeEnd, { isPipe: true }),
  });
  pump.start();
  const sent = randomBytes(60_000);
  writeNow(from.writeEnd.number, sent);
  let isFlushed = false;
  const flushed = pump.flush().then(() => {
    isFlushed = true;
    from.writeEnd.close();
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(isFlushed, false);
  const received = await readAll(to.readEnd.number, 1);
  await flushed;
  assert.equal(received.subarray(full.bytes).compare(sent), 0);
  to.readEnd.close();
});

test(
  'Pump.flush is done with what was there although another process writes for ever',
  LIMIT,
  async () => {
    const from = new Pipe({ nonBlocking: true });
    const to = new Pipe();
    const pump = new Pump({
      source: from.readEnd,
      sink: new DescriptorSink(to.writeEnd, { isPipe: true }),
    });
    pump.start();
    let isWriting = true;
    const write = (): void => {
      if (!isWriting) return;
      writeNow(from.writeEnd.number, Buffer.alloc(4096));
      setImmediate(write);
    };
    write();
    const reading = readAll(to.readEnd.number);
    try {
      await pump.flush();
      assert.equal(pump.isClosed, false);
    } finally {
      isWriting = false;
    }
    from.writeEnd.close();
    await reading;
    to.readEnd.close();
  },
);

test('Pump.detach ends the output, and who still writes is not stopped', LIMIT, async () => {
  const from = new Pipe({ nonBlocking: true });
  const to = new Pipe();
  const pump = new Pump({
    source: from.readEnd,
    sink: new DescriptorSink(to.writeEnd, { isPipe: true }),
    discardsWhenBroken: true,
  });
  pump.start();
  writeNow(from.writeEnd.number, Buffer.from('seen'));
  await pump.flush();
  pump.detach();
  const received = await readAll(to.readEnd.number);
  assert.equal(received.toString(), 'seen');
  await writeAll(from.writeEnd.number, Buffer.alloc(200_000));
  from.writeEnd.close();
  while (!pump.isClosed) await new Promise((resolve) => setImmediate(resolve));
  to.readEnd.close();
});

for (const kind of ['splice', 'copy'] as const) {
  test(
    `Pump.detach loses nothing that a slow reader has not read yet (${kind})`,
    LIMIT,
    async () => {
      const from = new Pipe({ nonBlocking: true });
      const to = new Pipe();
      const pump = new Pump({
        source: from.readEnd,
        sink: new DescriptorSink(to.writeEnd, { isPipe: kind === 'splice' }),
        discardsWhenBroken: true,
      });
      pump.start();
      const sent = randomBytes(25 * 4096); // more than one pipe holds, less than two, in whole pages
      for (let at = 0; at < sent.length; ) {
        const result = writeNow(from.writeEnd.number, sent.subarray(at, at + 4096));
        if ('bytes' in result) at += result.bytes;
        else await new Promise((resolve) => setImmediate(resolve));
      }
      const flushed = pump.flush();
      pump.detach();
      const received = await readAll(to.readEnd.number, 1); // its end comes though a writer is left
      await flushed;
      assert.equal(received.compare(sent), 0);
      assert.equal(pump.isClosed, false);
      await writeAll(from.writeEnd.number, Buffer.alloc(200_000));
      pump.close();
      from.writeEnd.close();
      to.readEnd.close();
    },
  );
}

test(
  'Pump throws output away when its reader is gone, so that the writer never stops',
  LIMIT,
  async () => {
    const from = new Pipe();
    const to = new Pipe();
    to.readEnd.close();
    const errors: Error[] = [];
    const pump = new Pump({
      source: from.readEnd,
      sink: new DescriptorSink(to.writeEnd, { isPipe: true }),
      discardsWhenBroken: true,
      onTrouble: (error) => errors.push(error),
    });
    pump.start();
    await writeAll(from.writeEnd.number, randomBytes(300_000));
    await pump.flush();
    assert.deepEqual(
      errors.map((error) => error instanceof SinkError && error.errno),
      [32],
    );
    pump.close();
    from.writeEnd.close();
  },
);

/** A pump whose source is the reading end of `from`, and what it says of reads that fail. */
function told(from: Pipe, to: Pipe): { pump: Pump; errors: string[] } {
  const errors: string[] = [];
  const pump = new Pump({
    source: from.readEnd,
    sink: new DescriptorSink(to.writeEnd, { isPipe: false }),
    onTrouble: (error) => errors.push(error.message),
  });
  return { pump, errors };
}

/** Makes a number lead to what another leads to. */
function replace(number: number, by: number): void {
  closeSync(number);
  using others = new DisposableStack();
  for (let copy = duplicateFd(by); ; copy = duplicateFd(by)) {
    if (copy.number === number) {
      copy.release();
      return;
    }
    others.use(copy); // numbers below that were free, too
  }
}

test('Pump tries again when a read fails, and loses nothing', LIMIT, async () => {
  const [from, to] = [new Pipe(), new Pipe()];
  const { pump, errors } = told(from, to);
  const sent = randomBytes(10_000);
  await writeAll(from.writeEnd.number, sent);
  using source = duplicateFd(from.readEnd.number);
  // A number that cannot be read for a while.
  replace(from.readEnd.number, to.writeEnd.number);
  const flushed = pump.flush();
  assert.deepEqual(errors, ['read: EBADF, tried again']);
  replace(from.readEnd.number, source.number);
  await flushed;
  assert.equal(pump.isClosed, false);
  from.writeEnd.close();
  pump.start();
  assert.equal((await readAll(to.readEnd.number)).compare(sent), 0);
  assert.deepEqual(errors, ['read: EBADF, tried again']);
  to.readEnd.close();
});

test('Pump takes 0 bytes for an end only if nobody can write any more', LIMIT, async () => {
  const [from, to] = [new Pipe(), new Pipe()];
  const { pump, errors } = told(from, to);
  using source = duplicateFd(from.readEnd.number);
  // A fifo that nobody has written to yet.
  const directory = mkdtempSync(join(tmpdir(), 'pump-'));
  makeFifo(join(directory, 'fifo'), 0o600);
  using fifo = new OwnedFd(
    openSync(join(directory, 'fifo'), constants.O_RDONLY | constants.O_NONBLOCK),
  );
  replace(from.readEnd.number, fifo.number);
  const flushed = pump.flush();
  assert.deepEqual(errors, ['read: 0 bytes before the end, tried again']);
  replace(from.readEnd.number, source.number);
  const sent = randomBytes(10_000);
  await writeAll(from.writeEnd.number, sent);
  await flushed;
  from.writeEnd.close();
  assert.equal((await readAll(to.readEnd.number)).compare(sent), 0);
  to.readEnd.close();
  rmSync(directory, { recursive: true });
});

test('Pump gives up a source that cannot be read, and says so', LIMIT, async () => {
  const [from, to] = [new Pipe(), new Pipe()];
  const { pump, errors } = told(from, to);
  replace(from.readEnd.number, to.writeEnd.number);
  await pump.flush();
  while (!pump.isClosed) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(errors, ['read: EBADF, tried again', 'read: EBADF, given up']);
  from.writeEnd.close();
  to.readEnd.close();
});

test('Pump of input closes when the process reads no more', LIMIT, async () => {
  const from = new Pipe();
  const to = new Pipe();
  to.readEnd.close();
  const pump = new Pump({
    source: from.readEnd,
    sink: new DescriptorSink(to.writeEnd, { isPipe: true }),
  });
  pump.start();
  writeNow(from.writeEnd.number, Buffer.from('x'));
  while (!pump.isClosed) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(writeNow(from.writeEnd.number, Buffer.from('x')), { errno: 32 });
  from.writeEnd.close();
});

test(
  'Pump of a terminal goes on when it is opened again, and ends with its process',
  LIMIT,
  async () => {
    const master = openPty();
    const number = master.number;
    const to = new Pipe();
    const pump = new Pump({
      source: master,
      sink: new DescriptorSink(to.writeEnd, { isPipe: true }),
      isSourceTerminal: true,
    });
    const say = (text: string): void => {
      const peer = openPtyPeer(number);
      writeSync(peer.number, text);
      peer.close();
    };
    say('one');
    pump.start();
    const received = readAll(to.readEnd.number, 5);
    await new Promise((resolve) => setTimeout(resolve, 80)); // the pump meets the hang-up
    say('two');
    await pump.flush();
    assert.equal((await received).toString(), 'onetwo');
    assert.equal(pump.isClosed, true);
    to.readEnd.close();
  },
);

test('Pump.flush of a terminal does not wait for those who still have it open', LIMIT, async () => {
  const master = openPty();
  const peer = openPtyPeer(master.number);
  const to = new Pipe();
  const pump = new Pump({
    source: master,
    sink: new DescriptorSink(to.writeEnd, { isPipe: true }),
    isSourceTerminal: true,
  });
  pump.start();
  writeSync(peer.number, 'text');
  await pump.flush();
  setNonBlocking(to.readEnd.number);
  assert.deepEqual(readNow(to.readEnd.number, Buffer.alloc(9)), { bytes: 4 });
  pump.close();
  peer.close();
  to.readEnd.close();
});

test('FileSink keeps the error of a disk that is full', LIMIT, async () => {
  const sink = new FileSink(new OwnedFd(openSync('/dev/full', 'a')));
  assert.equal(sink.write(Buffer.from('x')), 1);
  await new Promise<void>((resolve) => sink.onRoom(resolve));
  assert.throws(() => sink.write(Buffer.from('x')), new SinkError('ENOSPC'));
  sink.close();
});
