import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createLogger, type LogFormat } from './index.ts';
import { textLine } from './text-line.ts';

test('textLine: fields as containerd writes them, an error as its text', () => {
  assert.equal(
    textLine(
      '{"level":"warning","time":"T","program":"p","n":5,"error":{"type":"E","message":"no \\"x\\""},"path":"/a b","msg":"it\\nis"}',
    ),
    'time="T" level=warning msg="it\\nis" error="no \\"x\\"" n=5 path="/a b" program=p\n',
  );
});

for (const [format, expected] of [
  ['json', /^\{"level":"warning","time":"[^"]+Z","program":"p","key":1,"msg":"m"\}\n$/],
  ['text', /^time="[^"]+Z" level=warning msg="m" key=1 program=p\n$/],
] as [LogFormat, RegExp][]) {
  test(`createLogger: writes ${format}`, (context) => {
    const directory = mkdtempSync(join(tmpdir(), 'log-'));
    context.after(() => rmSync(directory, { recursive: true }));
    const destination = join(directory, 'log');
    const log = createLogger({ name: 'p', level: 'info', format, destination });
    log.warn({ key: 1 }, 'm');
    log.debug('not this');
    assert.match(readFileSync(destination, 'utf8'), expected);
  });
}
