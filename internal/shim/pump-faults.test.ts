// Faults put into the parts of a container's output: each is told, and the output goes on.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Pipe, writeNow } from '../linux/index.ts';
import { LogFile } from './log-file.ts';
import { LineSplitter } from './log-line.ts';
import { LogSink } from './log-sink.ts';
import { parseLogQuery } from './log-uri.ts';
import type { OutputListener } from './output-tap.ts';
import { Pump } from './pump.ts';
import type { Sink } from './sink.ts';

const EMPTY = new Uint8Array(0);
const LIMIT = { timeout: 30_000 };
const directory = mkdtempSync(join(tmpdir(), 'pump-faults-'));
after(() => rmSync(directory, { recursive: true }));

/** Takes a byte at a time and keeps it; each of its calls fails as often as `faults` says. */
class FaultySink implements Sink {
  readonly pipe = undefined;
  readonly faults: Partial<Record<'write' | 'onRoom' | 'finish' | 'close', number>>;
  text = '';

  constructor(faults: FaultySink['faults']) {
    this.faults = faults;
  }

  get isIdle(): boolean {
    return this.faults.onRoom !== Number.POSITIVE_INFINITY;
  }

  write(bytes: Uint8Array): number {
    this.#fail('write');
    this.text += Buffer.from(bytes.subarray(0, 1)).toString();
    return 1;
  }

  onRoom(callback: () => void): void {
    this.#fail('onRoom');
    setImmediate(callback);
  }

  finish(): void {
    this.#fail('finish');
  }

  close(): void {
    this.#fail('close');
  }

  #fail(call: keyof FaultySink['faults']): void {
    const left = this.faults[call] ?? 0;
    if (left === 0) return;
    this.faults[call] = left - 1;
    throw new RangeError(`no memory for ${call}`);
  }
}

const ONE_SECOND = 20; // as often a pump tries
const said = (what: string): string => `RangeError: no memory for ${what}`;

const rows: [faults: FaultySink['faults'], text: string, told: string[]][] = [
  [{ write: 3 }, 'ab.cd.', [`write 3 bytes: ${said('write')}, tried again`]],
  [
    { write: ONE_SECOND },
    'cd.',
    ['tried again', 'given up'].map((end) => `write 3 bytes: ${said('write')}, ${end}`),
  ],
  [{ onRoom: 1 }, 'ab.cd.', [`carry: ${said('onRoom')}, tried again`]],
  [{ finish: 1 }, 'ab.cd.', [`write the rest: ${said('finish')}, given up`]],
  [{ close: 1 }, 'ab.cd.', [`close: ${said('close')}, given up`]],
];

for (const [faults, text, told] of rows) {
  test(`Pump goes on after what its sink throws: ${JSON.stringify(faults)}`, LIMIT, async () => {
    const from = new Pipe({ nonBlocking: true });
    const errors: string[] = [];
    const sink = new FaultySink({ ...faults });
    const onTrouble = (error: Error): void => void errors.push(error.message);
    const pump = new Pump({ source: from.readEnd, sink, discardsWhenBroken: true, onTrouble });
    pump.start();
    for (const word of ['ab.', 'cd.']) {
      writeNow(from.writeEnd.number, Buffer.from(word));
      await pump.flush();
    }
    from.writeEnd.close();
    while (!pump.isClosed) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(sink.text, text);
    assert.deepEqual(errors, told);
  });
}

test('Pump ends when its sink throws for ever, and says so', LIMIT, async () => {
  const from = new Pipe({ nonBlocking: true });
  const errors: string[] = [];
  const sink = new FaultySink({ onRoom: Number.POSITIVE_INFINITY });
  const onTrouble = (error: Error): void => void errors.push(error.message);
  const pump = new Pump({ source: from.readEnd, sink, discardsWhenBroken: true, onTrouble });
  pump.start();
  writeNow(from.writeEnd.number, Buffer.from('a long text'.repeat(4)));
  await pump.flush();
  assert.equal(pump.isClosed, true);
  const ends = ['tried again', 'given up'];
  assert.deepEqual(
    errors,
    ends.map((end) => `carry: ${said('onRoom')}, ${end}`),
  );
  from.writeEnd.close();
});

test('LogFile goes on after an exception between two writes', LIMIT, async () => {
  const path = join(directory, 'notice.log');
  symlinkSync('/dev/full', path);
  const refusals: string[] = [];
  let faults = 2;
  const file = await LogFile.open(path, {
    notice: (text) => {
      if (faults-- > 0) throw new RangeError('no memory');
      return Buffer.from(`notice: ${text}\n`);
    },
    onRefused: ({ text }) => refusals.push(text),
    retryMs: 10,
    maxPendingBytes: 4,
  });
  file.use();
  const add = (text: string): void => {
    file.line(EMPTY, Buffer.from(text), Buffer.from('\n'));
    file.flush();
  };
  const idle = async (): Promise<void> => {
    while (!file.isIdle) await new Promise<void>((resolve) => file.onChange(resolve));
  };
  add('one');
  await idle();
  for (const lost of ['two', 'three']) add(lost);
  rmSync(path);
  await file.reopen(); // a disk with room
  const lines = `one\nnotice: 2 lines of output (8 bytes) lost: write ${path}: RangeError: no memory\n`;
  while (readFileSync(path, 'utf8') !== lines) await new Promise(setImmediate);
  await idle();
  add('four');
  await idle();
  assert.equal(readFileSync(path, 'utf8'), `${lines}four\n`);
  assert.deepEqual(refusals, [
    `write ${path}: ENOSPC: free space on the disk of the log`,
    `write ${path}: RangeError: no memory`,
  ]);
  file.release();
});

test(
  'LogSink drops a client that throws, and no byte of the log or of the others',
  LIMIT,
  async () => {
    const path = join(directory, 'clients.log');
    const file = await LogFile.open(path, { notice: () => EMPTY });
    const target = parseLogQuery(path, '', path);
    const errors: string[] = [];
    const sink = new LogSink(file, target, 'stdout', ({ message }) => errors.push(message));
    const heard: Buffer[] = [];
    const listener = (output: OutputListener['output']): OutputListener => ({ output, end() {} });
    sink.attach(
      listener(() => {
        throw new RangeError('no memory');
      }),
    );
    sink.attach(listener((_, bytes) => void heard.push(Buffer.from(bytes))));
    for (const word of ['one\n', 'two\n']) assert.equal(sink.write(Buffer.from(word)), 4);
    while (!sink.isIdle) await new Promise<void>((resolve) => sink.onRoom(resolve));
    assert.equal(Buffer.concat(heard).toString(), 'one\ntwo\n');
    assert.deepEqual(errors, ['a client is dropped: RangeError: no memory']);
    assert.match(readFileSync(path, 'utf8'), /^\S+ stdout F one\n\S+ stdout F two\n$/);
    sink.close();
  },
);

test('LineSplitter loses and doubles nothing when its writer throws', () => {
  for (let fault = 0; fault < 6; fault++) {
    const written: string[] = [];
    let calls = 0;
    const splitter = new LineSplitter(
      {
        format: 'cri',
        stream: 'stdout',
        maxLineBytes: 16,
        lastTag: 'P',
        tags: [],
        labels: new Map(),
      },
      {
        line: (_head, content) => {
          if (calls++ === fault) throw new RangeError('no memory');
          written.push(Buffer.from(content).toString());
        },
      },
    );
    for (const piece of ['begin', 'ning\ntwo\nthr', 'ee\n', 'four\n', 'end\n']) {
      for (let rest = Buffer.from(piece); rest.length > 0; ) {
        try {
          rest = rest.subarray(splitter.push(rest, 0n));
        } catch (thrown) {
          assert.ok(thrown instanceof RangeError);
        }
      }
    }
    assert.deepEqual(written, ['beginning', 'two', 'three', 'four', 'end'], `fault ${fault}`);
    assert.equal(calls, fault < 5 ? 6 : 5);
  }
});
