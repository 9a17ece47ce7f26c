import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { LayeredFiles, layersOf, MAX_FILE_BYTES } from './layered-files.ts';

describe('LayeredFiles', () => {
  let directory = '';
  let files: LayeredFiles;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'layers-'));
    const [upper, lower, outside] = ['upper', 'lower', 'outside'].map((name) =>
      join(directory, name),
    ) as [string, string, string];
    for (const path of [
      upper,
      lower,
      outside,
      join(upper, 'etc'),
      join(lower, 'etc'),
      join(lower, 'file'),
    ])
      mkdirSync(path);
    writeFileSync(join(outside, 'secret'), 'secret');
    writeFileSync(join(lower, 'etc/passwd'), 'lower');
    writeFileSync(join(lower, 'etc/group'), 'group');
    writeFileSync(join(upper, 'etc/passwd'), 'upper');
    writeFileSync(join(upper, 'file'), 'hides a directory');
    writeFileSync(join(lower, 'file/below'), 'hidden');
    symlinkSync('/etc/group', join(upper, 'absolute'));
    symlinkSync('../../../../etc/group', join(upper, 'up'));
    symlinkSync(join(outside, 'secret'), join(upper, 'leads-out'));
    symlinkSync(`../../../../../../..${outside}/secret`, join(upper, 'climbs-out'));
    symlinkSync('loop', join(upper, 'loop'));
    symlinkSync('etc', join(upper, 'dir'));
    writeFileSync(join(upper, 'huge'), '');
    truncateSync(join(upper, 'huge'), 2 ** 31);
    files = new LayeredFiles([upper, lower]);
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const rows: readonly [path: string, content: string | undefined][] = [
    ['/etc/passwd', 'upper'],
    ['/etc/group', 'group'],
    ['etc/../etc/./group', 'group'],
    ['/../../etc/group', 'group'],
    ['/absolute', 'group'],
    ['/up', 'group'],
    ['/dir/passwd', 'upper'],
    ['/none', undefined],
    ['/file/below', undefined],
    ['/leads-out', undefined],
    ['/climbs-out', undefined],
  ];
  for (const [path, content] of rows) {
    it(`reads ${path}: ${content}`, () => assert.equal(files.read(path), content));
  }

  it('tells a place without links, and what is in a directory of all layers', () => {
    assert.equal(files.canonical('/dir/../up'), '/etc/group');
    assert.equal(files.canonical('/leads-out'), undefined);
    assert.deepEqual(files.names('/etc'), ['group', 'passwd']);
  });

  it('refuses loops, what is no file, and what is too large, without reading it', () => {
    assert.throws(() => files.read('/loop'), { message: '/loop of the image: ELOOP' });
    assert.throws(() => files.read('/etc'), { message: '/etc of the image: not a regular file' });
    const before = process.memoryUsage().rss;
    assert.throws(() => files.read('/huge'), {
      kind: 'ResourceExhausted',
      message: `/huge of the image: larger than ${MAX_FILE_BYTES} bytes`,
    });
    assert.ok(process.memoryUsage().rss - before < 64 * 1024 * 1024);
  });

  it('layersOf: of overlays and of one directory; of nothing else', () => {
    const of = (type: string, ...options: string[]) => layersOf([{ type, source: '/s', options }]);
    assert.deepEqual(of('overlay', 'upperdir=/u', 'lowerdir=/a:/b'), ['/u', '/a', '/b']);
    assert.deepEqual(of('overlay', 'lowerdir=/a:/b'), ['/a', '/b']);
    assert.deepEqual(of('bind', 'rbind'), ['/s']);
    assert.equal(of('ext4'), undefined);
    assert.equal(layersOf([]), undefined);
  });
});
