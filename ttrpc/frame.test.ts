import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  encodeFrame,
  type Frame,
  FrameDecoder,
  MAX_DATA_LENGTH,
  type OversizedFrame,
} from './frame.ts';

const bytes = (hex: string): Uint8Array => Buffer.from(hex.replaceAll(' ', ''), 'hex');

const GOLDEN: [name: string, frame: Frame, hex: string][] = [
  [
    'request',
    { streamId: 1, type: 1, flags: 0, data: bytes('0a0b') },
    '00000002 00000001 01 00 0a0b',
  ],
  ['response', { streamId: 3, type: 2, flags: 0, data: bytes('ff') }, '00000001 00000003 02 00 ff'],
  ['data', { streamId: 5, type: 3, flags: 0, data: bytes('') }, '00000000 00000005 03 00'],
  ['end of stream', { streamId: 7, type: 3, flags: 5, data: bytes('') }, '00000000 00000007 03 05'],
  [
    'highest stream id',
    { streamId: 0xffffffff, type: 3, flags: 255, data: bytes('00') },
    '00000001 ffffffff 03 ff 00',
  ],
];

for (const [name, frame, hex] of GOLDEN) {
  test(`encodeFrame: ${name} is ${hex}`, () => {
    assert.equal(encodeFrame(frame).toString('hex'), hex.replaceAll(' ', ''));
  });
  test(`FrameDecoder: ${hex} is a ${name}`, () => {
    const { frames } = decode([bytes(hex)]);
    assert.deepEqual(frames, [{ ...frame, data: Buffer.from(frame.data) }]);
  });
}

test('FrameDecoder: frames are the same however the bytes are cut', () => {
  const whole = Buffer.concat(GOLDEN.map(([, frame]) => encodeFrame(frame)));
  const expected = decode([whole]).frames;
  for (let size = 1; size < whole.length; size += 1) {
    const parts = [];
    for (let at = 0; at < whole.length; at += size) parts.push(whole.subarray(at, at + size));
    assert.deepEqual(decode(parts).frames, expected, `in pieces of ${size} bytes`);
  }
});

test('FrameDecoder: random frames in random pieces come out whole', () => {
  const seed = Number(process.env['TTRPC_SEED'] ?? Date.now() % 1_000_000);
  console.log(`# seed ${seed} (TTRPC_SEED repeats it)`);
  const random = randomFrom(seed);
  for (let round = 0; round < 200; round += 1) {
    const frames = Array.from({ length: random(8) }, () => ({
      streamId: random(2 ** 32),
      type: random(256),
      flags: random(256),
      data: Buffer.from(Array.from({ length: random(300) }, () => random(256))),
    }));
    const whole = Buffer.concat(frames.map(encodeFrame));
    const parts = [];
    for (let at = 0; at < whole.length; ) {
      const next = at + 1 + random(64);
      parts.push(whole.subarray(at, next));
      at = next;
    }
    assert.deepEqual(decode(parts).frames, frames);
  }
});

test('FrameDecoder: data of exactly the limit passes, one byte more is skipped', () => {
  const limit = 16;
  const fits = encodeFrame({ streamId: 1, type: 1, flags: 0, data: Buffer.alloc(limit, 1) });
  const over = encodeFrame({ streamId: 3, type: 1, flags: 2, data: Buffer.alloc(limit + 1, 2) });
  const { frames, oversized, decoder } = decode([Buffer.concat([fits, over, fits])], limit);
  assert.deepEqual(
    frames.map((frame) => frame.streamId),
    [1, 1],
  );
  assert.deepEqual(oversized, [{ streamId: 3, type: 1, flags: 2, length: limit + 1 }]);
  assert.equal(decoder.isAtBoundary, true);
});

test('FrameDecoder: a header that announces 4 GiB reserves nothing', () => {
  const before = process.memoryUsage().arrayBuffers;
  const { oversized, decoder } = decode([bytes('ffffffff 00000001 01 00')]);
  for (let sent = 0; sent < 64; sent += 1) decoder.push(new Uint8Array(1 << 20));
  assert.equal(oversized[0]?.length, 0xffffffff);
  assert.equal(decoder.isAtBoundary, false);
  assert.ok(process.memoryUsage().arrayBuffers - before < 80 << 20);
});

test('FrameDecoder: an allowed but undelivered length reserves nothing', () => {
  const header = Buffer.alloc(10);
  header.writeUInt32BE(MAX_DATA_LENGTH, 0);
  const before = process.memoryUsage().arrayBuffers;
  const decoders = Array.from({ length: 100 }, () => decode([header]).decoder);
  assert.equal(decoders.length, 100);
  assert.ok(process.memoryUsage().arrayBuffers - before < 1 << 20);
});

for (const [hex, isAtBoundary] of [
  ['', true],
  ['00', false],
  ['00000001 00000001 03 00', false],
  ['00000001 00000001 03 00 07', true],
] as const) {
  test(`FrameDecoder: after "${hex}" the stream ${isAtBoundary ? 'may' : 'may not'} end`, () => {
    assert.equal(decode([bytes(hex)]).decoder.isAtBoundary, isAtBoundary);
  });
}

function decode(chunks: Uint8Array[], limit?: number) {
  const frames: Frame[] = [];
  const oversized: OversizedFrame[] = [];
  const sink = {
    frame: (frame: Frame) => frames.push({ ...frame, data: Buffer.from(frame.data) }),
    oversized: (frame: OversizedFrame) => oversized.push(frame),
  };
  const decoder = new FrameDecoder(sink, limit);
  for (const chunk of chunks) decoder.push(chunk);
  return { frames, oversized, decoder };
}

/** Numbers below `limit` from a linear congruential generator. */
function randomFrom(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}
