import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocalExchange } from '../events/local-exchange.ts';
import { Database } from './database.ts';
import { ensureNamespace, NamespaceStore } from './namespace-store.ts';

function openStore() {
  const database = new Database(':memory:');
  return { database, store: new NamespaceStore(database, new LocalExchange()) };
}

test('create: name and labels come back, a second one is AlreadyExists', () => {
  const { store } = openStore();
  const namespace = { name: 'k8s.io', labels: new Map([['a', 'b']]) };
  assert.deepEqual(store.create(namespace), namespace);
  assert.deepEqual(store.list(), [namespace]);
  assert.throws(() => store.create(namespace), {
    kind: 'AlreadyExists',
    message: 'namespace "k8s.io": already exists',
  });
});

test('list: a namespace that is only used is there too', () => {
  const { database, store } = openStore();
  ensureNamespace(database, 'moby');
  assert.deepEqual(store.list(), [{ name: 'moby', labels: new Map() }]);
});

for (const name of ['', '.', '..', 'a/b', '-a', 'a-', 'a b', 'ä', 'a'.repeat(77)]) {
  test(`create: refuses the name ${JSON.stringify(name)}`, () => {
    const create = () => openStore().store.create({ name, labels: new Map() });
    assert.throws(create, { kind: 'InvalidArgument' });
  });
}

test('update: sets single labels by path, or all of them', () => {
  const { store } = openStore();
  store.create({
    name: 'x',
    labels: new Map([
      ['a', '1'],
      ['b', '2'],
    ]),
  });
  const labels = new Map([
    ['a', '3'],
    ['c', '4'],
  ]);
  assert.deepEqual(
    [...store.update({ name: 'x', labels }, ['labels.a', 'labels.b']).labels],
    [['a', '3']],
  );
  assert.deepEqual(store.update({ name: 'x', labels }, []).labels, labels);
  assert.throws(() => store.update({ name: 'x', labels }, ['name']), {
    message: 'cannot update "name" field on "x": invalid argument',
  });
});

test('get: a namespace that does not exist has no labels, update makes it', () => {
  const { store } = openStore();
  assert.deepEqual(store.get('new'), { name: 'new', labels: new Map() });
  assert.deepEqual(store.list(), []);
  store.update({ name: 'new', labels: new Map([['a', 'b']]) }, []);
  assert.deepEqual(store.list(), [{ name: 'new', labels: new Map([['a', 'b']]) }]);
});

test('delete: refused while something is in it, all of which is named', () => {
  const { database, store } = openStore();
  store.create({ name: 'x', labels: new Map() });
  database.run(`INSERT INTO images VALUES ('x', 'i', '{}', 'm', 'd', 1, '{}', 0, 0)`);
  database.run(`INSERT INTO content VALUES ('x', 'd', 1, '{}', 0, 0)`);
  database.run(
    `INSERT INTO snapshots (namespace, snapshotter, name, kind, labels, created_at, updated_at)
     VALUES ('x', 'overlayfs', 's', 'committed', '{}', 0, 0)`,
  );
  assert.throws(() => store.delete('x'), {
    kind: 'FailedPrecondition',
    message:
      'namespace "x" must be empty, but it still has images, blobs, ' +
      'snapshots on "overlayfs" snapshotter: failed precondition',
  });
  for (const table of ['images', 'content', 'snapshots']) database.run(`DELETE FROM ${table}`);
  store.delete('x');
  assert.deepEqual(store.list(), []);
  assert.throws(() => store.delete('x'), { kind: 'NotFound' });
});
