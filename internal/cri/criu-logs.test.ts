import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { CriuLogs, KEPT_LOGS } from './criu-logs.ts';

test('CriuLogs: the last ones of what failed stay, of what succeeded none', async () => {
  const parent = mkdtempSync(join(tmpdir(), 'criu-logs-'));
  try {
    const logs = new CriuLogs(parent);
    const names: string[] = [];
    for (let index = 0; index < KEPT_LOGS + 3; index++) {
      const failing = logs.during(`c${index}`, async (directory) => {
        writeFileSync(join(directory, 'dump.log'), `log ${index}`);
        names.push(directory);
        throw new Error('refused');
      });
      await assert.rejects(failing, /refused/);
      utimesSync(names.at(-1) ?? '', index, index);
    }
    assert.equal(await logs.during('good', async (path) => dirname(path)), parent);
    await assert.rejects(
      logs.during('silent', async () => await Promise.reject(new Error('no log'))),
    );
    const expected = names.slice(-(KEPT_LOGS - 1)).sort();
    const left = readdirSync(parent).map((name) => join(parent, name));
    assert.deepEqual(left.sort(), expected);
    assert.match(readFileSync(join(names.at(-1) ?? '', 'dump.log'), 'utf8'), /^log 18$/);
  } finally {
    rmSync(parent, { recursive: true, force: true });
  }
});

test('CriuLogs: what is being written is not removed, however old', async () => {
  const parent = mkdtempSync(join(tmpdir(), 'criu-logs-'));
  try {
    const logs = new CriuLogs(parent);
    await logs.during('long', async (directory) => {
      writeFileSync(join(directory, 'dump.log'), 'so far');
      utimesSync(directory, 1, 1);
      for (let index = 0; index < KEPT_LOGS + 1; index++) {
        const failing = logs.during('short', async (other) => {
          writeFileSync(join(other, 'dump.log'), '');
          throw new Error('refused');
        });
        await assert.rejects(failing);
      }
      assert.equal(readFileSync(join(directory, 'dump.log'), 'utf8'), 'so far');
    });
    assert.equal(readdirSync(parent).length, KEPT_LOGS);
  } finally {
    rmSync(parent, { recursive: true, force: true });
  }
});
