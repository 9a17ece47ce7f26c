// Snapshotters in other processes (`proxy_plugins`): the contract of snapshotters, layers that a remote snapshotter has by
// itself and that are not fetched, and one that is not there or dies.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { LocalExchange } from '../../internal/events/local-exchange.ts';
import { Database } from '../../internal/metadata/database.ts';
import { ProxyDriver } from '../../internal/snapshots/proxy-driver.ts';
import { SnapshotIds } from '../../internal/snapshots/snapshot-records.ts';
import { SnapshotStore } from '../../internal/snapshots/snapshot-store.ts';
import { runCtr } from '../fixtures/ctr.ts';
import { type CtrResult, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { buildImage } from '../fixtures/oci-image.ts';
import { TestRegistry } from '../fixtures/registry.ts';
import { fixtureDirectory, snapshotterContract } from '../fixtures/snapshotter-contract.ts';
import { peer } from '../peers/index.ts';

const isRoot = process.getuid?.() === 0;
const skip = skipWithout('tscontainerd') || peer('ctr-2.1').skip;
const program = join(import.meta.dirname, '../fixtures/lazy-snapshotter.ts');

/** Starts the snapshotter `lazy`; its socket is `DIRECTORY.sock`. */
async function startLazy(directory: string): Promise<ChildProcess> {
  const args = [program, 'lazy', `${directory}.sock`, directory];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return child;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

if (!isRoot) test('proxy', { skip: 'needs root' }, () => {});
else {
  snapshotterContract(
    'proxy',
    async () => {
      const root = fixtureDirectory();
      const child = await startLazy(join(root, 'lazy'));
      const database = new Database(join(root, 'metadata.db'));
      const driver = new ProxyDriver('lazy', join(root, 'lazy.sock'));
      const ids = new SnapshotIds(database);
      const snapshotter = new SnapshotStore(database, driver, new LocalExchange(), ids);
      return {
        snapshotter,
        async close() {
          await snapshotter.close();
          driver.close();
          database.close();
          await stop(child);
          rmSync(root, { recursive: true, force: true });
        },
      };
    },
    { hasOurMessages: true },
  );
}

function ok(result: CtrResult): string {
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
}

test('a remote snapshotter’s layers are not fetched, others are; all of it goes with the image', {
  skip,
}, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'proxy-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const lazy = join(dir, 'lazy');
  const image = await buildImage({
    name: 'unused',
    layers: ['a', 'b', 'c'].map((path) => [
      { path, kind: 'file' as const, content: Buffer.from(path) },
    ]),
  });
  // It has the two lower layers, in its own words.
  for (const [index, digest] of image.layerDigests.slice(0, 2).entries()) {
    const tree = join(lazy, 'layers', digest.replace('sha256:', ''));
    mkdirSync(tree, { recursive: true });
    writeFileSync(join(tree, `lazy-${index}`), 'from afar');
  }
  let child = await startLazy(lazy);
  t.after(() => stop(child));
  const config = `[proxy_plugins.lazy]\ntype = "snapshot"\naddress = "${lazy}.sock"\n`;
  await using daemon = await TestDaemon.start('tscontainerd', { config });
  await using registry = await TestRegistry.start();
  const ref = registry.add(image, 'some/image');
  const ctr = (...args: string[]): Promise<CtrResult> => runCtr('ctr-2.1', daemon.address, args);
  ok(await ctr('images', 'pull', '--snapshotter', 'lazy', ref));
  const fetched = registry.seen.map(({ path }) => path).filter((path) => path.includes('/blobs/'));
  const [, , last = ''] = image.layerDigests;
  assert.deepEqual(
    fetched.map((path) => path.split('/').at(-1)).sort(),
    [image.configDigest, last].sort(),
  );
  const target = join(dir, 'view');
  mkdirSync(target);
  ok(await ctr('images', 'mount', '--snapshotter', 'lazy', ref, target));
  try {
    assert.deepEqual(readdirSync(target).sort(), ['c', 'lazy-0', 'lazy-1']);
    assert.equal(readFileSync(join(target, 'lazy-1'), 'utf8'), 'from afar');
  } finally {
    ok(await ctr('images', 'unmount', '--snapshotter', 'lazy', '--rm', target));
  }
  const listed = ok(await ctr('snapshots', '--snapshotter', 'lazy', 'ls'));
  assert.equal(listed.match(/Committed/g)?.length, 3, listed);

  // It dies: what needs it says so, everything else goes on; it comes back and serves on.
  await stop(child);
  const failed = await ctr('snapshots', '--snapshotter', 'lazy', 'prepare', 'k');
  assert.equal(
    failed.stderr.trim(),
    `ctr: snapshotter lazy: Prepare: it does not serve: start the snapshotter that is to serve ${lazy}.sock: unavailable`,
  );
  ok(await ctr('images', 'ls'));
  child = await startLazy(lazy);
  ok(await ctr('snapshots', '--snapshotter', 'lazy', 'prepare', 'k'));
  ok(await ctr('snapshots', '--snapshotter', 'lazy', 'rm', 'k'));

  ok(await ctr('images', 'rm', '--sync', ref));
  const left = await runCtr('ctr-2.1', `${lazy}.sock`, [
    'snapshots',
    '--snapshotter',
    'lazy',
    'ls',
  ]);
  assert.equal(ok(left).trim().split('\n').length, 1, left.stdout);
});
