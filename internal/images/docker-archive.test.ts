import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { LocalContentStore } from '../content/local-content-store.ts';
import { LocalExchange } from '../events/local-exchange.ts';
import { Database } from '../metadata/database.ts';
import type { ArchiveBlob } from './archive-reader.ts';
import { dockerIndex } from './docker-archive.ts';
import { writeBlob } from './image-content.ts';

test('dockerIndex: a layer that is cut on disk fails the import, not the process', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'docker-archive-'));
  const database = new Database(join(root, 'metadata.db'));
  t.after(() => {
    database.close();
    rmSync(root, { recursive: true });
  });
  const gc = { schedule: () => undefined };
  const content = new LocalContentStore(join(root, 'content'), database, new LocalExchange(), gc);
  const scope = { namespace: 'default' };
  const put = async (text: string): Promise<ArchiveBlob> =>
    await writeBlob(content, scope, 'test', Buffer.from(text));
  const config = await put('{"os":"linux","architecture":"amd64"}');
  const layer = await put('l'.repeat(100_000));
  const path = join(root, 'content/blobs', layer.digest.replace(':', '/'));
  rmSync(path);
  writeFileSync(path, 'l'.repeat(50_000));
  const blobs = new Map([
    ['config.json', config],
    ['layer.tar', layer],
  ]);
  const manifest = [{ Config: 'config.json', RepoTags: [], Layers: ['layer.tar'] }];
  const saved = Buffer.from(JSON.stringify(manifest));
  await assert.rejects(dockerIndex(content, scope, saved, blobs, true), {
    kind: 'DataLoss',
    message: 'file ends at 50000, expected 100000 bytes',
  });
  assert.equal(content.list(scope).length, 2, 'half of a layer was stored');
});
