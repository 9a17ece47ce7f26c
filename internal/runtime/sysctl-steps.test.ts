import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sysctlPath } from './sysctl-steps.ts';

const PATHS: [string, string][] = [
  ['net.ipv4.ip_forward', 'net/ipv4/ip_forward'],
  ['net/ipv4/ip_forward', 'net/ipv4/ip_forward'],
  ['net/ipv4/conf/eth0.1/forwarding', 'net/ipv4/conf/eth0.1/forwarding'],
  ['net.ipv4.conf.eth0/1.forwarding', 'net/ipv4/conf/eth0.1/forwarding'],
  ['kernel', 'kernel'],
];
for (const [name, path] of PATHS) {
  test(`sysctlPath of ${name}`, () => assert.equal(sysctlPath(name), path));
}
