import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LogTarget } from './log-uri.ts';
import { parseStdioUri } from './stdio-uri.ts';

const plain: LogTarget = {
  kind: 'log',
  path: '/var/log/pods/a/0.log',
  stream: undefined,
  format: 'cri',
  maxLineBytes: 16384,
  lastTag: 'P',
  tags: [],
  labels: new Map(),
  tees: [],
};

const understood: [query: string, target: Partial<LogTarget>][] = [
  ['', {}],
  ['?stream=stderr&format=json&last=F', { stream: 'stderr', format: 'json', lastTag: 'F' }],
  ['?max-line=16', { maxLineBytes: 16 }],
  ['?max-line=0', { maxLineBytes: 4 << 20 }],
  ['?tag=a&tag=b', { tags: ['a', 'b'] }],
  [
    '?label=a%3Db%3Dc&label=d%3D',
    {
      labels: new Map([
        ['a', 'b=c'],
        ['d', ''],
      ]),
    },
  ],
  ['?tee=/run/a%20b&tee=/run/c', { tees: ['/run/a b', '/run/c'] }],
];

for (const [query, target] of understood) {
  test(`parseStdioUri understands cri://…${query}`, () => {
    assert.deepEqual(parseStdioUri(`cri://${plain.path}${query}`), { ...plain, ...target });
  });
}

const refused: [query: string, what: string, advice: RegExp][] = [
  ['stream=stdin', 'stream "stdin"', /^use stdout or stderr$/],
  ['format=xml', 'format "xml"', /^use cri or json$/],
  ['max-line=-1', 'max-line "-1"', /^use 0, or 16 to 4194304$/],
  ['max-line=15', 'max-line "15"', /^use 0, or 16 to 4194304$/],
  ['max-line=4194305', 'max-line "4194305"', /^use 0, or 16 to 4194304$/],
  ['last=x', 'last "x"', /^use P or F$/],
  ['tag=a%20b', 'tag "a b"', /^use printable ASCII without a colon or space$/],
  ['tag=a:b', 'tag "a:b"', /^use printable ASCII without a colon or space$/],
  ['label=x', 'label "x"', /^use KEY=VALUE$/],
  ['tee=relative', 'tee "relative"', /^use an absolute path$/],
  ['maxline=5', 'maxline "5"', /^use the keys stream, format, max-line, last, tag, label, tee$/],
];

for (const [query, what, advice] of refused) {
  test(`parseStdioUri refuses cri:///a?${query}`, () => {
    assert.throws(() => parseStdioUri(`cri:///a?${query}`), {
      kind: 'InvalidArgument',
      code: 'TS_STDIO_LOG',
      message: `stdio cri:///a?${query}: ${what}`,
      advice,
    });
  });
}
