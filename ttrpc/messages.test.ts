import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
  type Request,
  type Response,
} from './messages.ts';

const none = { service: '', method: '', payload: undefined, timeoutNano: 0n, metadata: [] };

const REQUESTS: [name: string, request: Request, hex: string][] = [
  ['empty', none, ''],
  [
    'names and payload',
    { ...none, service: 'a.B', method: 'C', payload: Buffer.from([1, 2]) },
    '0a03612e42 120143 1a020102',
  ],
  ['timeout of 1 s', { ...none, timeoutNano: 1_000_000_000n }, '208094ebdc03'],
  ['greatest timeout', { ...none, timeoutNano: 2n ** 63n - 1n }, '20ffffffffffffffff7f'],
  ['negative timeout', { ...none, timeoutNano: -1n }, '20ffffffffffffffffff01'],
  [
    'metadata, a key twice',
    {
      ...none,
      metadata: [
        { key: 'k', value: 'v' },
        { key: 'k', value: '' },
      ],
    },
    '2a060a016b120176 2a030a016b',
  ],
];

for (const [name, request, hex] of REQUESTS) {
  test(`Request: ${name} is ${hex}`, () => {
    const bytes = encodeRequest(request);
    assert.equal(Buffer.from(bytes).toString('hex'), hex.replaceAll(' ', ''));
    assert.deepEqual(decodeRequest(bytes), request);
  });
}

const RESPONSES: [name: string, response: Response, hex: string][] = [
  ['empty', { status: undefined, payload: Buffer.alloc(0) }, ''],
  ['payload', { status: undefined, payload: Buffer.from('x') }, '120178'],
  [
    'not found',
    { status: { code: 5, message: 'no', details: [] }, payload: Buffer.alloc(0) },
    '0a06 0805 12026e6f',
  ],
  [
    'details',
    {
      status: { code: 2, message: '', details: [{ typeUrl: 't', value: Buffer.from([9]) }] },
      payload: Buffer.alloc(0),
    },
    '0a0a 0802 1a06 0a0174 120109',
  ],
];

for (const [name, response, hex] of RESPONSES) {
  test(`Response: ${name} is ${hex}`, () => {
    const bytes = encodeResponse(response);
    assert.equal(Buffer.from(bytes).toString('hex'), hex.replaceAll(' ', ''));
    const decoded = decodeResponse(bytes);
    assert.deepEqual({ ...decoded, payload: Buffer.from(decoded.payload) }, response);
  });
}

test('Request: fields of other numbers and wire types are skipped', () => {
  const hex = '3001 39 0000000000000000 42 0161 4d 00000000 0801 0a0161';
  const request = decodeRequest(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
  assert.deepEqual(request, { ...none, service: 'a' });
});

for (const [name, hex] of [
  ['a string longer than the data', '0a05 61'],
  ['a message longer than the data', '2a10 0a0161'],
  ['a field that crosses the end of its message', '2a02 0a0161'],
  ['a varint without an end', '20ffffff'],
  ['an unknown wire type', '0f'],
] as const) {
  test(`Request: ${name} is refused`, () => {
    assert.throws(() => decodeRequest(Buffer.from(hex.replaceAll(' ', ''), 'hex')));
  });
}
