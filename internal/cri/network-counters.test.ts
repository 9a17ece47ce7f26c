import assert from 'node:assert/strict';
import { test } from 'node:test';
import { networkCounters, parseNetDev } from './network-counters.ts';

const TEXT = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    5000      60    0    0    0     0          0         0     5000      60    0    0    0     0       0          0
  eth0: 18446744073709551615 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0
eth1:1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0
`;

test('parseNetDev: every interface but loopback, with 64 bits', () => {
  const [eth0, eth1, ...more] = parseNetDev(TEXT);
  assert.deepEqual(eth0, {
    name: 'eth0',
    rxBytes: 18446744073709551615n,
    rxPackets: 2n,
    rxErrors: 3n,
    rxDropped: 4n,
    txBytes: 5n,
    txPackets: 6n,
    txErrors: 7n,
    txDropped: 8n,
  });
  assert.deepEqual([eth1?.name, eth1?.rxBytes, eth1?.txBytes, more], ['eth1', 1n, 2n, []]);
  assert.deepEqual(parseNetDev(''), []);
});

test('networkCounters: a process that has ended has none', () => {
  assert.deepEqual(networkCounters(2 ** 22 + 1), []);
});
