/** What every snapshotter must do: a suite that is run over each (see snapshotters.test.ts). */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ErrorKind } from '../../internal/errors/index.ts';
import { TsError } from '../../internal/errors/index.ts';
import type { Labels, Scope } from '../../internal/metadata/scope.ts';
import type { Mount, Snapshotter } from '../../internal/snapshots/snapshotter.ts';
import { withMounts } from '../../internal/snapshots/temporary-mount.ts';

/** A snapshotter for one test, and how to clean it up. */
export interface Fixture {
  readonly snapshotter: Snapshotter;
  close(): Promise<void>;
}

const scope: Scope = { namespace: 'contract' };
const none: Labels = new Map();

/** Registers the suite for a snapshotter that `open` makes anew for each test. */
export function snapshotterContract(name: string, open: () => Promise<Fixture>): void {
  const contract = (
    title: string,
    body: (s: Snapshotter, t: TestContext) => Promise<void>,
  ): void => {
    test(`${name}: ${title}`, async (t) => {
      const { snapshotter, close } = await open();
      t.after(close);
      await body(snapshotter, t);
    });
  };

  contract('layers are seen through each other, deletions too', async (s) => {
    await layer(s, 'one', '', (root) => {
      writeFileSync(join(root, 'a'), 'a1');
      writeFileSync(join(root, 'b'), 'b1');
    });
    await layer(s, 'two', 'one', (root) => {
      writeFileSync(join(root, 'a'), 'a2');
      rmSync(join(root, 'b'));
    });
    await layer(s, 'three', 'two', (root) => writeFileSync(join(root, 'c'), 'c3'));
    assert.deepEqual(await contents(await s.view(scope, 'look', 'three', none)), {
      a: 'a2',
      c: 'c3',
    });
    assert.deepEqual(await contents(await s.view(scope, 'look1', 'one', none)), {
      a: 'a1',
      b: 'b1',
    });
  });

  contract('an active snapshot does not change its parent', async (s) => {
    await layer(s, 'base', '', (root) => writeFileSync(join(root, 'f'), 'old'));
    const mounts = await s.prepare(scope, 'work', 'base', none);
    await withMounts(mounts, async (root) => writeFileSync(join(root, 'f'), 'new'));
    assert.deepEqual(await contents(await s.view(scope, 'v', 'base', none)), { f: 'old' });
    assert.deepEqual(await contents(await s.mounts(scope, 'work')), { f: 'new' });
  });

  contract('a view cannot be written', async (s) => {
    await layer(s, 'base', '', (root) => writeFileSync(join(root, 'f'), 'x'));
    await layer(s, 'top', 'base', (root) => writeFileSync(join(root, 'g'), 'y'));
    for (const parent of ['', 'base', 'top']) {
      const mounts = await s.view(scope, `view-${parent}`, parent, none);
      await withMounts(mounts, async (root) => {
        assert.throws(() => writeFileSync(join(root, 'new'), ''), { code: 'EROFS' });
      });
    }
  });

  contract('stat tells kind, parent, labels and times', async (s) => {
    await s.prepare(scope, 'k', '', new Map([['l', '1']]));
    const active = s.stat(scope, 'k');
    assert.equal(active.kind, 'active');
    assert.equal(active.parent, '');
    assert.equal(active.labels.get('l'), '1');
    await s.commit(scope, 'c', 'k', new Map([['m', '2']]));
    const committed = s.stat(scope, 'c');
    assert.equal(committed.kind, 'committed');
    assert.deepEqual([...committed.labels], [['m', '2']]);
    await s.view(scope, 'v', 'c', none);
    assert.equal(s.stat(scope, 'v').kind, 'view');
    assert.equal(s.stat(scope, 'v').parent, 'c');
    assert.ok(s.stat(scope, 'v').createdAt > committed.createdAt - 1n);
  });

  contract('update sets labels by field path', async (s) => {
    await s.prepare(
      scope,
      'k',
      '',
      new Map([
        ['a', '1'],
        ['b', '2'],
      ]),
    );
    assert.deepEqual(
      [...s.update(scope, 'k', new Map([['b', '3']]), ['labels.b']).labels],
      [
        ['a', '1'],
        ['b', '3'],
      ],
    );
    assert.deepEqual([...s.update(scope, 'k', none, ['labels.a']).labels], [['b', '3']]);
    assert.deepEqual([...s.update(scope, 'k', new Map([['z', '9']]), []).labels], [['z', '9']]);
    refused(() => s.update(scope, 'k', none, ['kind']), 'InvalidArgument');
  });

  contract('list filters by kind, name, parent and label', async (s) => {
    await layer(s, 'base', '', () => {});
    await s.prepare(scope, 'w', 'base', new Map([['x.y/z', '1']]));
    const names = (...filters: string[]): string[] => s.list(scope, filters).map((i) => i.name);
    assert.deepEqual(names(), ['base', 'w']);
    assert.deepEqual(names('kind==committed'), ['base']);
    assert.deepEqual(names('parent==base'), ['w']);
    assert.deepEqual(names('name==w', 'name==base'), ['base', 'w']);
    assert.deepEqual(names('labels."x.y/z"==1'), ['w']);
    assert.deepEqual(s.list({ namespace: 'other' }), []);
  });

  contract('usage counts the layer alone, a hard link once', async (s) => {
    await layer(s, 'base', '', (root) => writeFileSync(join(root, 'f'), Buffer.alloc(1 << 20, 1)));
    const base = await s.usage(scope, 'base');
    assert.ok(base.sizeBytes >= 1n << 20n && base.sizeBytes < 3n << 19n, `${base.sizeBytes}`);
    const mounts = await s.prepare(scope, 'k', '', none);
    await withMounts(mounts, async (root) => {
      writeFileSync(join(root, 'f'), Buffer.alloc(1 << 20, 1));
      execFileSync('ln', [join(root, 'f'), join(root, 'g')]);
    });
    assert.deepEqual(await s.usage(scope, 'k'), base);
  });

  contract('what is wrong is refused with its kind', async (s) => {
    await layer(s, 'base', '', () => {});
    await s.prepare(scope, 'k', 'base', none);
    await rejected(
      s.prepare(scope, 'k', '', none),
      'AlreadyExists',
      'snapshot "k": already exists',
    );
    await rejected(
      s.prepare(scope, 'n', 'absent', none),
      'NotFound',
      'parent snapshot absent does not exist: not found',
    );
    await rejected(
      s.prepare(scope, 'n', 'k', none),
      'InvalidArgument',
      'parent snapshot k is not committed',
    );
    await rejected(
      s.prepare(scope, '', '', none),
      'InvalidArgument',
      'snapshot key must not be empty',
    );
    await rejected(
      s.commit(scope, 'base', 'k', none),
      'AlreadyExists',
      'snapshot "base": already exists',
    );
    await rejected(
      s.commit(scope, 'n', 'base', none),
      'FailedPrecondition',
      'snapshot base is not active',
    );
    await rejected(
      s.mounts(scope, 'absent'),
      'NotFound',
      'snapshot absent does not exist: not found',
    );
    await rejected(
      s.remove(scope, 'base'),
      'FailedPrecondition',
      'cannot remove snapshot base with child: failed precondition',
    );
    await s.remove(scope, 'k');
    await s.remove(scope, 'base');
    assert.deepEqual(s.list(scope), []);
  });

  contract('many callers for one name: one wins', async (s) => {
    const calls = Array.from({ length: 8 }, () => s.prepare(scope, 'same', '', none));
    const results = await Promise.allSettled(calls);
    assert.equal(results.filter((r) => r.status === 'fulfilled').length, 1);
    for (const r of results) {
      if (r.status === 'rejected') assert.equal((r.reason as TsError).kind, 'AlreadyExists');
    }
  });

  contract('a hundred and twenty layers can be mounted', async (s) => {
    let parent = '';
    for (let i = 0; i < 120; i++) {
      await layer(s, `l${i}`, parent, (root) => writeFileSync(join(root, `f${i}`), ''));
      parent = `l${i}`;
    }
    const files = await contents(await s.view(scope, 'v', parent, none));
    assert.equal(Object.keys(files).length, 120);
  });

  contract('names of one namespace are free in another', async (s) => {
    await layer(s, 'base', '', () => {});
    await s.prepare({ namespace: 'other' }, 'base', '', none);
    refused(() => s.stat({ namespace: 'third' }, 'base'), 'NotFound');
  });
}

async function layer(
  s: Snapshotter,
  name: string,
  parent: string,
  write: (root: string) => void,
): Promise<void> {
  const mounts = await s.prepare(scope, `prepare-${name}`, parent, none);
  await withMounts(mounts, async (root) => write(root));
  await s.commit(scope, name, `prepare-${name}`, none);
}

async function contents(mounts: readonly Mount[]): Promise<Record<string, string>> {
  return await withMounts(mounts, async (root) => {
    const names = execFileSync('ls', ['-A', root], { encoding: 'utf8' })
      .split('\n')
      .filter(Boolean);
    return Object.fromEntries(names.map((name) => [name, readFileSync(join(root, name), 'utf8')]));
  });
}

async function rejected(
  promise: Promise<unknown>,
  kind: ErrorKind,
  message: string,
): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof TsError);
    assert.deepEqual([error.kind, error.message], [kind, message]);
    return true;
  });
}

function refused(call: () => unknown, kind: ErrorKind): void {
  assert.throws(call, (error: unknown) => error instanceof TsError && error.kind === kind);
}

/** A directory for a fixture, on the file system of the temporary directory. */
export function fixtureDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'snapshotter-'));
}
