import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseStdioUri, type StdioTarget } from './stdio-uri.ts';

const understood: [uri: string, target: StdioTarget][] = [
  ['', { kind: 'none' }],
  ['/run/containerd/fifo/12/a-stdout', { kind: 'fifo', path: '/run/containerd/fifo/12/a-stdout' }],
  ['/odd:name/%41?x#y', { kind: 'fifo', path: '/odd:name/%41?x#y' }],
  ['fifo:///run/a%20b', { kind: 'fifo', path: '/run/a b' }],
  ['file:///var/log/a.log', { kind: 'file', path: '/var/log/a.log' }],
  ['FILE:///var/log/a.log#part', { kind: 'file', path: '/var/log/a.log' }],
  [
    'binary:///bin/logger',
    { kind: 'binary', path: '/bin/logger', args: [], wantsReadyByte: false },
  ],
  [
    'binary:///bin/logger?id=a%2Fb&flag&id=second&x=1+2',
    {
      kind: 'binary',
      path: '/bin/logger',
      args: ['id', 'a/b', 'flag', '', 'x', '1 2'],
      wantsReadyByte: false,
    },
  ],
  [
    'binary-v2:///bin/logger',
    { kind: 'binary', path: '/bin/logger', args: [], wantsReadyByte: true },
  ],
];

for (const [uri, target] of understood) {
  test(`parseStdioUri understands "${uri}"`, () => {
    assert.deepEqual(parseStdioUri(uri), target);
  });
}

const refused: [uri: string, message: string][] = [
  ['relative/path', 'stdio relative/path: path is not absolute'],
  ['http://host/x', 'unknown STDIO scheme http'],
  ['http:///x', 'unknown STDIO scheme http'],
  ['file://%zz', 'stdio file://%zz: malformed escape'],
  ['file://', 'stdio file://: path is not absolute'],
  ['file:///a%00b', 'stdio file:///a%00b: path is not absolute'],
];

for (const [uri, message] of refused) {
  test(`parseStdioUri refuses "${uri}"`, () => {
    assert.throws(() => parseStdioUri(uri), { kind: 'InvalidArgument', message });
  });
}
