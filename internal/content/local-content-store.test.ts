import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { LocalExchange } from '../events/local-exchange.ts';
import { SqliteCollector } from '../gc/sqlite-collector.ts';
import { Database } from '../metadata/database.ts';
import { NamespaceStore } from '../metadata/namespace-store.ts';
import type { Scope } from '../metadata/scope.ts';
import { SqliteLeaseStore } from '../metadata/sqlite-lease-store.ts';
import type { ContentWriter, Digest } from './content-store.ts';
import { LocalContentStore } from './local-content-store.ts';

const SCOPE: Scope = { namespace: 'default' };
const NO_LABELS = new Map<string, string>();

function open(context: TestContext, options = { isShared: true }) {
  const root = mkdtempSync(join(tmpdir(), 'content-test-'));
  const database = new Database(join(root, 'metadata.db'));
  const events = new LocalExchange();
  const gc = new SqliteCollector(database, events);
  const store = new LocalContentStore(join(root, 'content'), database, events, gc, options);
  gc.addCleaner(store);
  const leases = new SqliteLeaseStore(database, gc);
  context.after(async () => {
    await gc.close();
    database.close();
    rmSync(root, { recursive: true });
  });
  const files = (part: string) => readdirSync(join(root, 'content', part));
  const namespaces = new NamespaceStore(database, events);
  return { root, store, gc, leases, namespaces, files };
}

function digestOf(data: Uint8Array | string, algorithm: 'sha256' | 'sha512' = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(data).digest('hex')}`;
}

async function put(store: LocalContentStore, scope: Scope, data: string | Buffer): Promise<Digest> {
  const expected = digestOf(data);
  await using writer = await store.writer(scope, { ref: `put-${expected}` });
  await writer.write(Buffer.from(data));
  return await writer.commit(data.length, expected, NO_LABELS);
}

test('commit: a blob is read-only, owned by us alone, and nothing of the ingest is left', async (context) => {
  const { root, store, files } = open(context);
  const digest = await put(store, SCOPE, 'hello');
  const { mode } = statSync(join(root, 'content/blobs', digest.replace(':', '/')));
  assert.equal(mode & 0o777, 0o444);
  assert.deepEqual(files('ingest'), []);
  assert.equal(String(await store.readAll(SCOPE, digest, 5)), 'hello');
});

test('readAll: a blob above the limit is ResourceExhausted', async (context) => {
  const { store } = open(context);
  const digest = await put(store, SCOPE, 'hello');
  await assert.rejects(store.readAll(SCOPE, digest, 4), {
    kind: 'ResourceExhausted',
    message: `read content ${digest}: it has 5 bytes, at most 4 are accepted`,
  });
});

test('read: a blob that was cut on disk is DataLoss', async (context) => {
  const { root, store } = open(context);
  const digest = await put(store, SCOPE, 'hello');
  rmSync(join(root, 'content/blobs', digest.replace(':', '/')));
  writeFileSync(join(root, 'content/blobs', digest.replace(':', '/')), 'hel');
  await assert.rejects(store.readAll(SCOPE, digest, 5), {
    kind: 'DataLoss',
    message: 'file ends at 3, expected 5 bytes',
  });
});

test('writer: sha512 is expected or computed as asked', async (context) => {
  const { store } = open(context);
  const expected = digestOf('hello', 'sha512');
  await using early = await store.writer(SCOPE, { ref: 'early', expected });
  await early.write(Buffer.from('hello'));
  assert.equal(early.digest(), expected);
  assert.equal(await early.commit(0, expected, NO_LABELS), expected);
  const late = digestOf('world', 'sha512');
  await using writer = await store.writer(SCOPE, { ref: 'late' });
  await writer.write(Buffer.from('world'));
  assert.equal(await writer.commit(0, late, NO_LABELS), late);
  assert.equal(String(await store.readAll(SCOPE, late, 5)), 'world');
});

test('writer: an expected digest that is none is InvalidArgument and holds no lock', async (context) => {
  const { store } = open(context);
  for (const expected of ['sha256:xyz', 'md5:00', `sha256:${'A'.repeat(64)}`, '../../etc/passwd']) {
    const opening = store.writer(SCOPE, { ref: 'r', expected: expected as Digest });
    await assert.rejects(opening, { kind: 'InvalidArgument' });
  }
  await (await store.writer(SCOPE, { ref: 'r' })).close();
});

test('writer: what a crash left is resumed, longer than recorded or not', async (context) => {
  const { root, store } = open(context);
  const writer = await store.writer(SCOPE, { ref: 'r', totalBytes: 10 });
  await writer.write(Buffer.from('hello'));
  await writer.close();
  const [directory = ''] = readdirSync(join(root, 'content/ingest'));
  writeFileSync(join(root, 'content/ingest', directory, 'data'), 'hello wor');
  await using again = await store.writer(SCOPE, { ref: 'r', totalBytes: 10 });
  assert.equal(again.status.offsetBytes, 9);
  await again.write(Buffer.from('ld'));
  assert.equal(await again.commit(11, digestOf('hello world'), NO_LABELS), digestOf('hello world'));
});

test('commit: a wrong digest discards the data, which can never become right', async (context) => {
  const { store, files } = open(context);
  const writer = await store.writer(SCOPE, { ref: 'r' });
  await writer.write(Buffer.from('tampered'));
  await assert.rejects(writer.commit(0, digestOf('original'), NO_LABELS), {
    code: 'TS_CONTENT_DIGEST_MISMATCH',
  });
  assert.deepEqual(files('ingest'), []);
  assert.deepEqual(store.listStatuses(SCOPE), []);
});

test('commit: two writers of the same bytes race, one of them gets AlreadyExists', async (context) => {
  const { store, files } = open(context);
  const writers = await Promise.all(
    ['a', 'b', 'c'].map(async (ref) => {
      const writer = await store.writer(SCOPE, { ref });
      await writer.write(Buffer.from('same'));
      return writer;
    }),
  );
  const results = await Promise.allSettled(
    writers.map((writer) => writer.commit(0, undefined, NO_LABELS)),
  );
  assert.deepEqual(
    results.map((result) => (result.status === 'fulfilled' ? 'ok' : result.reason.kind)).sort(),
    ['AlreadyExists', 'AlreadyExists', 'ok'],
  );
  assert.deepEqual(files('ingest'), []);
  assert.equal(String(await store.readAll(SCOPE, digestOf('same'), 4)), 'same');
});

test('shared: a namespace gets what another has; a writer that writes after all gets its own copy', async (context) => {
  const { store, gc } = open(context);
  const other: Scope = { namespace: 'other' };
  const expected = await put(store, SCOPE, 'hello world');
  await using writer = await store.writer(other, { ref: 'r', expected });
  assert.equal(writer.status.offsetBytes, 11);
  await writer.truncate(5);
  assert.equal(writer.digest(), digestOf('hello'));
  await writer.write(Buffer.from(' world'));
  await store.delete(SCOPE, expected);
  await gc.collect();
  await writer.commit(11, expected, NO_LABELS);
  assert.equal(String(await store.readAll(other, expected, 11)), 'hello world');
});

test('shared: a blob that is about to be shared outlives its last record', async (context) => {
  const { store, gc } = open(context);
  const expected = await put(store, SCOPE, 'hello');
  await using writer = await store.writer({ namespace: 'other' }, { ref: 'r', expected });
  await store.delete(SCOPE, expected);
  await gc.collect();
  await writer.commit(0, expected, NO_LABELS);
  const [info] = store.list({ namespace: 'other' });
  assert.equal(info?.sizeBytes, 5);
  assert.equal(String(await store.readAll({ namespace: 'other' }, expected, 5)), 'hello');
});

test('commit: a namespace that was deleted meanwhile exists again', async (context) => {
  const { store, namespaces } = open(context);
  await using writer = await store.writer(SCOPE, { ref: 'r' });
  await writer.write(Buffer.from('hello'));
  namespaces.delete(SCOPE.namespace);
  await writer.commit(5, digestOf('hello'), NO_LABELS);
  assert.deepEqual(
    namespaces.list().map(({ name }) => name),
    [SCOPE.namespace],
  );
});

test('isolated: another namespace must send the bytes', async (context) => {
  const { store } = open(context, { isShared: false });
  const expected = await put(store, SCOPE, 'hello');
  await using writer = await store.writer({ namespace: 'other' }, { ref: 'r', expected });
  assert.equal(writer.status.offsetBytes, 0);
});

test('lease: one that is not there is NotFound and leaves no ingest', async (context) => {
  const { store } = open(context);
  const scope: Scope = { namespace: 'default', lease: 'gone' };
  await assert.rejects(store.writer(scope, { ref: 'r' }), {
    kind: 'NotFound',
    message: 'lease "gone": not found',
  });
  assert.deepEqual(store.listStatuses(SCOPE), []);
});

test('clean: blobs and ingests without a record go, open ingests stay', async (context) => {
  const { root, store, gc, files } = open(context);
  writeFileSync(join(root, 'content/blobs/sha256', 'a'.repeat(64)), 'orphan');
  writeFileSync(join(root, 'content/trash/old'), 'trash');
  await using writer = await store.writer(SCOPE, { ref: 'open' });
  await writer.write(Buffer.from('x'));
  await gc.collect();
  assert.deepEqual(files('blobs/sha256'), []);
  assert.deepEqual(files('trash'), []);
  assert.equal(files('ingest').length, 1);
});

test('leased data survives any interleaving of writers, deletions and collections', async (context) => {
  const seed = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
  context.diagnostic(`seed ${seed} (set TEST_SEED to repeat)`);
  let state = seed;
  const below = (limit: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % limit;
  };
  const { store, gc, leases, files } = open(context);
  const scopes = ['a', 'b'].map((namespace): Scope => {
    leases.create({ namespace }, 'lease', NO_LABELS);
    return { namespace, lease: 'lease' };
  });
  // Few different blobs, so that writers meet each other and the collector.
  const blobs = Array.from({ length: 6 }, (_, i) =>
    Buffer.concat([Buffer.from([i]), randomBytes(9_000)]),
  );
  const kept = new Map<string, Set<Digest>>(scopes.map(({ namespace }) => [namespace, new Set()]));
  const pull = async (scope: Scope, data: Buffer): Promise<void> => {
    const expected = digestOf(data);
    let writer: ContentWriter;
    try {
      writer = await store.writer(scope, {
        ref: `pull-${expected}`,
        totalBytes: data.length,
        expected,
      });
    } catch (error) {
      const { kind } = error as { kind: string };
      if (kind === 'AlreadyExists') kept.get(scope.namespace)?.add(expected);
      else assert.equal(kind, 'Unavailable', String(error));
      return;
    }
    await using _closing = writer;
    const stopAt = below(3) === 0 ? below(data.length) : data.length; // some pulls are cancelled
    for (let at = writer.status.offsetBytes; at < stopAt; at += 3_000) {
      await writer.write(data.subarray(at, Math.min(at + 3_000, data.length)));
    }
    if (stopAt < data.length) return;
    try {
      await writer.commit(data.length, expected, NO_LABELS);
    } catch (error) {
      assert.equal((error as { kind: string }).kind, 'AlreadyExists', String(error));
    }
    kept.get(scope.namespace)?.add(expected);
    if (below(3) !== 0 || blobs.findIndex((blob) => blob.equals(data)) < 3) return;
    await gc.collect();
    assert.equal(store.info(scope, expected).digest, expected);
  };
  const running: Promise<unknown>[] = [];
  for (let step = 0; step < 400; step++) {
    const scope = scopes[below(2)] ?? SCOPE;
    const data = blobs[below(blobs.length)] ?? Buffer.alloc(0);
    if (below(4) === 0) {
      running.push(gc.collect());
    } else if (below(6) === 0) {
      // Half of the blobs are deleted now and then; the others must never be lost again.
      const digest = digestOf(blobs[below(3)] ?? data);
      running.push(
        store.delete(scope, digest).catch((error) => assert.equal(error.kind, 'NotFound')),
      );
    } else {
      running.push(pull(scope, data));
    }
    if (below(5) === 0) await running[below(running.length)];
  }
  await Promise.all(running);
  await gc.collect();
  for (const { namespace } of scopes) {
    const listed = store.list({ namespace });
    for (const { digest } of listed) {
      assert.equal(digestOf(await store.readAll({ namespace }, digest, 10_000)), digest);
    }
    const digests = new Set(listed.map(({ digest }) => digest));
    const lost = blobs
      .slice(3)
      .map((data) => digestOf(data))
      .filter((digest) => {
        return kept.get(namespace)?.has(digest) && !digests.has(digest);
      });
    assert.deepEqual(lost, []);
  }
  const records = new Set(scopes.flatMap((scope) => store.list(scope).map(({ digest }) => digest)));
  assert.deepEqual(
    files('blobs/sha256').sort(),
    [...records].map((digest) => digest.slice('sha256:'.length)).sort(),
  );
  for (const { namespace } of scopes) await leases.delete({ namespace }, 'lease', true);
  assert.deepEqual(files('blobs/sha256'), []);
  assert.deepEqual(files('ingest'), []);
});
