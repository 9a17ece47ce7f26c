import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lineOf } from './toml-lines.ts';

const TOML = `version = 3
root = "/x" # version = 2

[grpc]
  address = "[debug]"
  uid = 1
[plugins."io.containerd.x.v1".inner]
  key = 1
[ plugins . 'other.plugin' ]
"quoted key" = 2
debug.level = "x"
[[list]]
a = 1`;

const CASES: [string[], number | undefined][] = [
  [['version'], 1],
  [['root'], 2],
  [['grpc'], 4],
  [['grpc', 'address'], 5],
  [['grpc', 'uid'], 6],
  [['grpc', 'missing'], 4],
  [['plugins', 'io.containerd.x.v1'], 7],
  [['plugins', 'io.containerd.x.v1', 'inner', 'key'], 8],
  [['plugins', 'other.plugin'], 9],
  [['plugins', 'other.plugin', 'quoted key'], 10],
  [['plugins', 'other.plugin', 'debug', 'level'], 11],
  [['list', 'a'], 13],
  [['debug'], undefined],
];

for (const [path, line] of CASES) {
  test(`lineOf: ${path.join(' ')} is on line ${line}`, () =>
    assert.equal(lineOf(TOML, path), line));
}
