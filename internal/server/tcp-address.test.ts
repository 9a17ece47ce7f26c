import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTcpAddress } from './tcp-address.ts';

for (const [address, host, port] of [
  ['127.0.0.1:1338', '127.0.0.1', 1338],
  ['[::1]:0', '::1', 0],
  [':1338', '::', 1338],
  ['node.example:65535', 'node.example', 65535],
] as const) {
  test(`parseTcpAddress: ${address}`, () => {
    assert.deepEqual(parseTcpAddress('metrics.address', address), { host, port });
  });
}

for (const address of ['127.0.0.1', '::1:80', 'host:port', 'host:65536', '/run/x.sock']) {
  test(`parseTcpAddress: refuses ${address}`, () => {
    assert.throws(() => parseTcpAddress('metrics.address', address), {
      kind: 'InvalidArgument',
      message: `metrics.address must be HOST:PORT, not "${address}"`,
    });
  });
}
