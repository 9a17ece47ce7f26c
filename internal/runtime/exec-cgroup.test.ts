import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cgroupBelow } from './exec-cgroup.ts';

const OWN = '/sys/fs/cgroup/pods/c1';
const ROWS: [string, string, string | undefined][] = [
  ['the same cgroup', '0::/pods/c1\n', OWN],
  ['a cgroup inside', '0::/pods/c1/init.scope\n', `${OWN}/init.scope`],
  ['v1 lines before it', '4:memory:/x\n1:name=systemd:/y\n0::/pods/c1/a b\n', `${OWN}/a b`],
  ['another cgroup', '0::/pods/c10\n', undefined],
  ['a cgroup outside', '0::/\n', undefined],
  ['no cgroup v2', '4:memory:/pods/c1\n', undefined],
];
for (const [what, text, expected] of ROWS) {
  test(`cgroupBelow: ${what}`, () => assert.equal(cgroupBelow(OWN, text), expected));
}
