import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocalExchange } from '../events/local-exchange.ts';
import type { NewContainer } from './container-store.ts';
import { Database } from './database.ts';
import { SqliteContainerStore } from './sqlite-container-store.ts';

const SCOPE = { namespace: 'default' };
const SPEC = { typeUrl: 'spec', value: Uint8Array.of(1) };

function container(id: string, fields: Partial<NewContainer> = {}): NewContainer {
  return {
    id,
    labels: new Map([['tier', 'web']]),
    image: 'docker.io/library/x:1',
    runtime: { name: 'io.containerd.runc.v2', options: undefined },
    spec: SPEC,
    snapshotter: 'overlayfs',
    snapshotKey: id,
    extensions: new Map([['__proto__', { typeUrl: 'e', value: Uint8Array.of(2) }]]),
    sandbox: '',
    ...fields,
  };
}

function openStore() {
  const events = new LocalExchange();
  const controller = new AbortController();
  const subscription = events.subscribe([], controller.signal);
  const collections: string[] = [];
  const store = new SqliteContainerStore(new Database(':memory:'), events, {
    schedule: () => collections.push('scheduled'),
  });
  const topics = async (): Promise<string[]> => {
    controller.abort();
    const seen: string[] = [];
    for await (const { topic } of subscription) seen.push(topic);
    return seen;
  };
  return { store, topics, collections };
}

test('create: the record comes back with times, and an event tells of it', async () => {
  const { store, topics } = openStore();
  const created = store.create(SCOPE, container('web'));
  assert.ok(created.createdAt > 0n);
  assert.equal(created.createdAt, created.updatedAt);
  const { createdAt, updatedAt, ...rest } = store.get(SCOPE, 'web');
  assert.deepEqual(rest, container('web'));
  assert.deepEqual([createdAt, updatedAt], [created.createdAt, created.updatedAt]);
  assert.deepEqual(await topics(), ['/containers/create']);
});

const BAD: [string, Partial<NewContainer>, string][] = [
  ['an empty id', { id: '' }, 'container.ID: identifier must not be empty: invalid argument'],
  [
    'an id with a slash',
    { id: 'a/b' },
    'container.ID: identifier "a/b" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument',
  ],
  [
    'an id with two dots',
    { id: 'a..b' },
    'container.ID: identifier "a..b" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument',
  ],
  [
    'a long id',
    { id: 'a'.repeat(77) },
    `container.ID: identifier "${'a'.repeat(77)}" greater than maximum length (76 characters): invalid argument`,
  ],
  [
    'no runtime',
    { runtime: { name: '', options: undefined } },
    'container.Runtime.Name must be set: invalid argument',
  ],
  [
    'a snapshot without snapshotter',
    { snapshotter: '' },
    'container.Snapshotter must be set if container.SnapshotKey is set: invalid argument',
  ],
  [
    'an empty extension name',
    { extensions: new Map([['', SPEC]]) },
    'container.Extensions keys must not be empty: invalid argument',
  ],
  [
    'a label of 4097 bytes',
    { labels: new Map([['key', 'v'.repeat(4094)]]) },
    'containers.Labels: label key and value length (4097 bytes) greater than maximum size ' +
      '(4096 bytes), key: key: invalid argument',
  ],
];

for (const [what, fields, message] of BAD) {
  test(`create: refuses ${what}`, async () => {
    const { store, topics } = openStore();
    const create = () => store.create(SCOPE, container('web', fields));
    assert.throws(create, {
      kind: 'InvalidArgument',
      message: `create container failed validation: ${message}`,
    });
    assert.deepEqual(await topics(), []);
  });
}

test('create: a label of exactly 4096 bytes is taken, one without value is none', () => {
  const { store } = openStore();
  const labels = new Map([
    ['key', 'v'.repeat(4093)],
    ['empty', ''],
    ['__proto__', 'x'],
  ]);
  const { labels: stored } = store.create(SCOPE, container('web', { labels }));
  assert.deepEqual([...stored.keys()].sort(), ['__proto__', 'key']);
});

test('create: an id is unique in its namespace and free in others', () => {
  const { store } = openStore();
  store.create(SCOPE, container('web'));
  assert.throws(() => store.create(SCOPE, container('web')), {
    kind: 'AlreadyExists',
    message: 'container "web": already exists',
  });
  store.create({ namespace: 'other' }, container('web'));
  assert.equal(store.list(SCOPE).length, 1);
});

test('get: what is not there is NotFound, and another namespace that has it is named', () => {
  const { store } = openStore();
  assert.throws(() => store.get(SCOPE, 'web'), {
    kind: 'NotFound',
    message: 'container "web" in namespace "default": not found',
  });
  store.create({ namespace: 'k8s.io' }, container('web'));
  assert.throws(() => store.delete(SCOPE, 'web'), {
    kind: 'NotFound',
    message: 'container "web" in namespace "default" (it is in namespace "k8s.io"): not found',
  });
});

const UPDATES: [string, string[], Partial<NewContainer>, Partial<NewContainer>][] = [
  [
    'no field path replaces all that may change',
    [],
    { labels: new Map([['a', 'b']]), image: 'y', sandbox: 'ignored' },
    { labels: new Map([['a', 'b']]), image: 'y' },
  ],
  [
    'labels.KEY sets one label',
    ['labels.zone'],
    { labels: new Map([['zone', 'eu']]), image: 'ignored' },
    {
      labels: new Map([
        ['tier', 'web'],
        ['zone', 'eu'],
      ]),
    },
  ],
  [
    'labels.KEY without a value removes it',
    ['labels.tier'],
    { labels: new Map() },
    { labels: new Map() },
  ],
  [
    'spec and image',
    ['spec', 'image'],
    { spec: { typeUrl: 's2', value: Uint8Array.of(9) }, image: 'z', labels: new Map() },
    { spec: { typeUrl: 's2', value: Uint8Array.of(9) }, image: 'z' },
  ],
  [
    'extensions.NAME sets one extension',
    ['extensions.new', 'extensions.__proto__'],
    { extensions: new Map([['new', SPEC]]) },
    { extensions: new Map([['new', SPEC]]) },
  ],
  ['snapshotkey', ['snapshotkey'], { snapshotKey: 'k2' }, { snapshotKey: 'k2' }],
];

for (const [what, paths, update, expected] of UPDATES) {
  test(`update: ${what}`, () => {
    const { store, collections } = openStore();
    const { createdAt } = store.create(SCOPE, container('web'));
    store.update(SCOPE, container('web', update), paths);
    const { createdAt: created, updatedAt, ...rest } = store.get(SCOPE, 'web');
    assert.deepEqual(rest, container('web', expected));
    assert.equal(created, createdAt);
    assert.ok(updatedAt > createdAt);
    assert.deepEqual(collections, ['scheduled']);
  });
}

const BAD_UPDATES: [string, string[], Partial<NewContainer>, string][] = [
  [
    'the snapshotter',
    [],
    { snapshotter: 'native' },
    'container.Snapshotter field is immutable: invalid argument',
  ],
  [
    'the runtime',
    [],
    { runtime: { name: 'other', options: undefined } },
    'container.Runtime.Name field is immutable: invalid argument',
  ],
  [
    'a field by path that may not',
    ['runtime'],
    {},
    'cannot update "runtime" field on "web": invalid argument',
  ],
];

for (const [what, paths, update, message] of BAD_UPDATES) {
  test(`update: refuses to change ${what}`, () => {
    const { store } = openStore();
    store.create(SCOPE, container('web'));
    const change = () => store.update(SCOPE, container('web', update), paths);
    assert.throws(change, { kind: 'InvalidArgument', message });
  });
}

test('list: filters by id, image, runtime and labels', () => {
  const { store } = openStore();
  for (const id of ['a', 'b', 'c']) {
    store.create(SCOPE, container(id, { image: `image-${id}`, labels: new Map([['n', id]]) }));
  }
  const ids = (...filters: string[]) => store.list(SCOPE, filters).map(({ id }) => id);
  assert.deepEqual(ids(), ['a', 'b', 'c']);
  assert.deepEqual(ids('id==b'), ['b']);
  assert.deepEqual(ids('image~=-[ac]$'), ['a', 'c']);
  assert.deepEqual(ids('labels.n==c', 'id==a'), ['a', 'c']);
  assert.deepEqual(ids('runtime.name==io.containerd.runc.v2,labels.n!=a'), ['b', 'c']);
});

test('delete: the record and its extensions are gone', async () => {
  const { store, topics, collections } = openStore();
  store.create(SCOPE, container('web'));
  store.delete(SCOPE, 'web');
  assert.deepEqual(store.list(SCOPE), []);
  store.create(SCOPE, container('web', { extensions: new Map() }));
  assert.equal(store.get(SCOPE, 'web').extensions.size, 0);
  assert.deepEqual(collections, ['scheduled']);
  assert.deepEqual(await topics(), [
    '/containers/create',
    '/containers/delete',
    '/containers/create',
  ]);
});
