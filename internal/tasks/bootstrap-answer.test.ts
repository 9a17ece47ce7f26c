import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BootstrapResult } from '../api/generated/containerd.runtime.bootstrap.v1.ts';
import { parseBootstrapAnswer, parseBootstrapFile, socketOf } from './bootstrap-answer.ts';

const json = (value: object): Uint8Array => Buffer.from(JSON.stringify(value));
const SOCKET = 'unix:///run/containerd/s/abc';

const GOOD: [name: string, output: Uint8Array, version: number][] = [
  [
    'protobuf of 2.3',
    BootstrapResult.encode({ version: 3, address: SOCKET, protocol: 'ttrpc' }),
    3,
  ],
  ['JSON of 2.1', json({ version: 3, address: SOCKET, protocol: 'ttrpc' }), 3],
  ['JSON with a newline', Buffer.from(`{"version":2,"address":"${SOCKET}"}\n`), 2],
  ['the bare address of 1.6', Buffer.from(SOCKET), 2],
  ['a bare address with a newline', Buffer.from(`${SOCKET}\n`), 2],
];

for (const [name, output, version] of GOOD) {
  test(`start: ${name} is version ${version}`, () => {
    assert.deepEqual(parseBootstrapAnswer(output), { version, address: SOCKET, protocol: 'ttrpc' });
  });
}

const BAD: [output: string, message: string][] = [
  ['', 'start printed no address'],
  ['\n', 'start printed no address'],
  ['{', "address of a shim: Expected property name or '}' in JSON at position 1 (line 1 column 2)"],
  ['{"version":3}', 'address of a shim: {"version":3} lacks version or address'],
  ['{"version":4,"address":"unix:///x"}', 'shim speaks version 4 of the task API'],
  [
    '{"version":3,"address":"unix:///x","protocol":"grpc"}',
    'shim at unix:///x speaks grpc, not ttrpc',
  ],
  ['panic: no\nsuch', 'start printed no address: "panic: no\\nsuch"'],
];

for (const [output, message] of BAD) {
  test(`start: ${JSON.stringify(output)} is refused: ${message}`, () => {
    assert.throws(() => parseBootstrapAnswer(Buffer.from(output)), { message });
  });
}

test('bootstrap.json: what was written is read; a bare address is not', () => {
  const address = { version: 3, address: SOCKET, protocol: 'ttrpc' };
  assert.deepEqual(parseBootstrapFile(JSON.stringify(address)), address);
  assert.throws(() => parseBootstrapFile(SOCKET), { message: 'bootstrap.json holds no address' });
});

for (const [address, socket] of [
  ['unix:///run/s/x', '/run/s/x'],
  ['/run/s/x', '/run/s/x'],
  ['containerd-shim/x.sock', '\0containerd-shim/x.sock'],
] as const) {
  test(`socketOf: ${address} is ${JSON.stringify(socket)}`, () => {
    assert.equal(socketOf({ version: 2, address, protocol: 'ttrpc' }), socket);
  });
}

test('socketOf: vsock is refused by name', () => {
  assert.throws(() => socketOf({ version: 3, address: 'vsock://3:1024', protocol: 'ttrpc' }), {
    kind: 'NotImplemented',
    message: 'connect to shim: no support for vsock://',
  });
});
