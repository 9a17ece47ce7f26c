import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocalExchange } from '../events/local-exchange.ts';
import { Database } from '../metadata/database.ts';
import { type GcSchedule, SqliteCollector } from './sqlite-collector.ts';

const PAST = '2020-01-01T00:00:00Z';
const FUTURE = '2999-01-01T00:00:00Z';

/** A database that is filled by one-line statements, and what a collection leaves of it. */
class World {
  readonly database = new Database(':memory:');
  readonly events = new LocalExchange();
  readonly collector = new SqliteCollector(this.database, this.events);

  content(digest: string, labels: Record<string, string> = {}, namespace = 'ns'): this {
    return this.#insert('content (namespace, digest, size, labels, created_at, updated_at)', [
      ...[namespace, digest, 1, JSON.stringify(labels), 0, 0],
    ]);
  }

  image(name: string, digest: string, labels: Record<string, string> = {}): this {
    return this.#insert(
      'images (namespace, name, labels, media_type, digest, size, annotations, created_at, updated_at)',
      ['ns', name, JSON.stringify(labels), 'm', digest, 1, '{}', 0, 0],
    );
  }

  snapshot(name: string, parent?: string, labels: Record<string, string> = {}): this {
    const parentId =
      this.database.get<{ id: bigint }>('SELECT id FROM snapshots WHERE name = ?', parent ?? '')
        ?.id ?? null;
    return this.#insert(
      'snapshots (namespace, snapshotter, name, parent_id, kind, labels, created_at, updated_at)',
      ['ns', 'overlayfs', name, parentId, 'committed', JSON.stringify(labels), 0, 0],
    );
  }

  container(id: string, snapshotKey: string, labels: Record<string, string> = {}): this {
    return this.#insert(
      `containers (namespace, id, labels, image, runtime_name, snapshotter, snapshot_key, sandbox,
         created_at, updated_at)`,
      ['ns', id, JSON.stringify(labels), '', 'r', 'overlayfs', snapshotKey, '', 0, 0],
    );
  }

  lease(id: string, resources: [string, string][], labels: Record<string, string> = {}): this {
    this.#insert('leases (namespace, id, labels, created_at)', [
      'ns',
      id,
      JSON.stringify(labels),
      0,
    ]);
    for (const [type, resource] of resources) {
      this.#insert('lease_resources (namespace, lease, type, id)', ['ns', id, type, resource]);
    }
    return this;
  }

  ingest(ref: string, expected = '', expiresAtMs = 0): this {
    return this.#insert(
      'ingests (namespace, ref, directory, expected, total, started_at, expires_at)',
      ['ns', ref, ref, expected, 0, 0, BigInt(expiresAtMs) * 1_000_000n],
    );
  }

  async collected(): Promise<string[]> {
    await this.collector.collect();
    const names = (sql: string) => this.database.all<{ n: string }>(sql).map(({ n }) => n);
    return [
      ...names(`SELECT 'content ' || digest AS n FROM content ORDER BY n`),
      ...names(`SELECT 'snapshot ' || name AS n FROM snapshots ORDER BY n`),
      ...names(`SELECT 'image ' || name AS n FROM images ORDER BY n`),
      ...names(`SELECT 'lease ' || id AS n FROM leases ORDER BY n`),
      ...names(`SELECT 'ingest ' || ref AS n FROM ingests ORDER BY n`),
    ];
  }

  #insert(table: string, values: (string | number | bigint | null)[]): this {
    const marks = values.map(() => '?').join(', ');
    this.database.run(`INSERT INTO ${table} VALUES (${marks})`, ...values);
    return this;
  }
}

const CASES: [string, (world: World) => World, string[]][] = [
  ['content that nothing refers to goes', (w) => w.content('a'), []],
  [
    'content with gc.root stays',
    (w) => w.content('a', { 'containerd.io/gc.root': 'x' }),
    ['content a'],
  ],
  [
    "an image's target stays with all that it refers to",
    (w) =>
      w
        .image('i', 'index')
        .content('index', { 'containerd.io/gc.ref.content.m.0': 'manifest' })
        .content('manifest', {
          'containerd.io/gc.ref.content.config': 'config',
          'containerd.io/gc.ref.content.l.0': 'layer',
          'containerd.io/gc.ref.content/1': 'layer1',
        })
        .content('config', { 'containerd.io/gc.ref.snapshot.overlayfs': 'top' })
        .content('layer')
        .content('layer1')
        .content('other')
        .snapshot('base')
        .snapshot('top', 'base')
        .snapshot('orphan', 'base'),
    [
      ...['config', 'index', 'layer', 'layer1', 'manifest'].map((name) => `content ${name}`),
      ...['snapshot base', 'snapshot top', 'image i'],
    ],
  ],
  [
    'content of another namespace is not kept',
    (w) => w.image('i', 'a').content('a', {}, 'other'),
    ['image i'],
  ],
  [
    'an expired image goes with its content',
    (w) => w.image('i', 'a', { 'containerd.io/gc.expire': PAST }).content('a'),
    [],
  ],
  [
    'an image that expires later stays',
    (w) => w.image('i', 'a', { 'containerd.io/gc.expire': FUTURE }).content('a'),
    ['content a', 'image i'],
  ],
  [
    "a container keeps its snapshot and that one's parents",
    (w) => w.snapshot('base').snapshot('rw', 'base').snapshot('x', 'base').container('c', 'rw'),
    ['snapshot base', 'snapshot rw'],
  ],
  [
    'a container keeps what its labels refer to',
    (w) =>
      w.content('a').snapshot('s').container('c', '', {
        'containerd.io/gc.ref.content.x': 'a',
        'containerd.io/gc.ref.snapshot.overlayfs/extra': 's',
      }),
    ['content a', 'snapshot s'],
  ],
  [
    'a lease keeps its resources and what they refer to',
    (w) =>
      w
        .content('a', { 'containerd.io/gc.ref.content.0': 'b' })
        .content('b')
        .snapshot('base')
        .snapshot('s', 'base')
        .ingest('upload', 'c')
        .content('c')
        .lease('l', [
          ['content', 'a'],
          ['snapshots/overlayfs', 's'],
          ['ingests', 'upload'],
        ]),
    [
      ...['content a', 'content b', 'content c', 'snapshot base', 'snapshot s'],
      ...['lease l', 'ingest upload'],
    ],
  ],
  [
    'a flat lease keeps its resources only',
    (w) =>
      w
        .content('a', { 'containerd.io/gc.ref.content.0': 'b' })
        .content('b')
        .lease('l', [['content', 'a']], { 'containerd.io/gc.flat': '1' }),
    ['content a', 'lease l'],
  ],
  [
    'an expired lease goes with its resources',
    (w) => w.content('a').lease('l', [['content', 'a']], { 'containerd.io/gc.expire': PAST }),
    [],
  ],
  [
    'a lease whose expiry cannot be read stays',
    (w) => w.lease('l', [], { 'containerd.io/gc.expire': 'soon' }),
    ['lease l'],
  ],
  [
    'an image in a lease stays though it expired',
    (w) =>
      w
        .image('i', 'a', { 'containerd.io/gc.expire': PAST })
        .content('a')
        .lease('l', [['images', 'i']]),
    ['content a', 'image i', 'lease l'],
  ],
  [
    'an ingest without lease stays until it expires',
    (w) => w.ingest('old', '', 1).ingest('new', '', Date.now() + 60_000),
    ['ingest new'],
  ],
  [
    'a back reference keeps the record that has it',
    (w) =>
      w
        .image('i', 'a')
        .content('a')
        .content('signature', { 'containerd.io/gc.bref.content.0': 'a' })
        .content('lost', { 'containerd.io/gc.bref.content.0': 'gone' })
        .snapshot('s', undefined, { 'containerd.io/gc.bref.image': 'i' }),
    ['content a', 'content signature', 'snapshot s', 'image i'],
  ],
  [
    'records that refer to each other go together',
    (w) =>
      w
        .content('a', { 'containerd.io/gc.ref.content.0': 'b' })
        .content('b', { 'containerd.io/gc.ref.content.0': 'a' }),
    [],
  ],
];

for (const [what, fill, expected] of CASES) {
  test(`collect: ${what}`, async () => {
    assert.deepEqual(await fill(new World()).collected(), expected);
  });
}

test('collect: a long chain of snapshots is removed child first', async () => {
  const world = new World();
  for (let i = 0; i < 100; i++) world.snapshot(`s${i}`, i === 0 ? undefined : `s${i - 1}`);
  assert.deepEqual(await world.collected(), []);
});

test('collect: events tell what was removed', async () => {
  const world = new World().content('a').snapshot('s').image('i', 'a', {
    'containerd.io/gc.expire': PAST,
  });
  const controller = new AbortController();
  const events = world.events.subscribe([], controller.signal);
  await world.collected();
  controller.abort();
  const topics: string[] = [];
  for await (const { topic } of events) topics.push(topic);
  assert.deepEqual(topics, ['/images/delete', '/content/delete', '/snapshot/remove']);
});

test('schedule: many calls make one run, and cleaners run in it', async () => {
  let cleaned = 0;
  const done = Promise.withResolvers<void>();
  const database = new Database(':memory:');
  let runs = 0;
  using collector = new SqliteCollector(database, new LocalExchange(), {
    delayMs: 5,
    onCollection: () => {
      runs++;
      done.resolve();
    },
  });
  collector.addCleaner({ name: 'disk', clean: async () => void cleaned++ });
  const keepAlive = setInterval(() => undefined, 1000); // the collector's own timer does not
  for (let i = 0; i < 10; i++) collector.schedule();
  await done.promise;
  clearInterval(keepAlive);
  assert.deepEqual([runs, cleaned], [1, 1]);
});

test('collect: a cleaner that fails does not keep the others from cleaning', async () => {
  using collector = new SqliteCollector(new Database(':memory:'), new LocalExchange());
  let cleaned = 0;
  collector.addCleaner({
    name: 'first',
    clean: async () => {
      throw new Error('disk on fire');
    },
  });
  collector.addCleaner({ name: 'second', clean: async () => void cleaned++ });
  await assert.rejects(collector.collect(), { message: 'clean first: disk on fire' });
  assert.equal(cleaned, 1);
  await assert.rejects(collector.collect(), { message: 'clean first: disk on fire' });
});

test('collect: after a run that failed another comes by itself', async () => {
  let isFull = false;
  class FullOnce extends Database {
    override transaction<T>(body: () => T): T {
      if (!isFull) return super.transaction(body);
      isFull = false;
      throw new Error('disk is full');
    }
  }
  const done = Promise.withResolvers<void>();
  const database = new FullOnce(':memory:');
  using collector = new SqliteCollector(database, new LocalExchange(), {
    maxIntervalMs: 10,
    onCollection: () => done.resolve(),
  });
  const keepAlive = setInterval(() => undefined, 1000);
  isFull = true;
  await assert.rejects(collector.collect(), { message: 'disk is full' });
  await done.promise;
  clearInterval(keepAlive);
});

test('collect: an expiry that comes runs the collector by itself', async () => {
  const world = new World();
  const database = world.database;
  const expired = Promise.withResolvers<void>();
  using collector = new SqliteCollector(database, world.events, {
    onCollection: ({ removed }) => {
      if (removed.leases === 1) expired.resolve();
    },
  });
  const soon = new Date(Date.now() + 150).toISOString();
  world.lease('l', [], { 'containerd.io/gc.expire': soon });
  const keepAlive = setInterval(() => undefined, 1000);
  await collector.collect();
  await expired.promise;
  clearInterval(keepAlive);
});

const thresholds: [string, GcSchedule, number][] = [
  ['each change, when no threshold is set', {}, 1],
  ['as many changes as deletion_threshold says', { deletionThreshold: 3 }, 3],
  [
    'as many changes as mutation_threshold says, where deletion_threshold is more',
    { deletionThreshold: 100, mutationThreshold: 5 },
    5,
  ],
];
for (const [what, options, changes] of thresholds) {
  test(`schedule: ${what} make a run due`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const ran = Promise.withResolvers<void>();
    let runs = 0;
    using collector = new SqliteCollector(new Database(':memory:'), new LocalExchange(), {
      ...options,
      onCollection: () => {
        runs++;
        ran.resolve();
      },
    });
    for (let i = 1; i < changes; i++) collector.schedule();
    t.mock.timers.tick(60_000);
    assert.equal(runs, 0);
    collector.schedule();
    t.mock.timers.tick(60_000);
    await ran.promise;
    assert.equal(runs, 1);
  });
}

test('schedule: schedule_delay and startup_delay are waited for', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const runs: string[] = [];
  let now = '';
  let ran = Promise.withResolvers<void>();
  using collector = new SqliteCollector(new Database(':memory:'), new LocalExchange(), {
    delayMs: 2000,
    startupDelayMs: 7000,
    onCollection: () => {
      runs.push(now);
      ran.resolve();
    },
  });
  collector.start();
  for (now of ['6999', '7000']) t.mock.timers.tick(now === '6999' ? 6999 : 1);
  await ran.promise;
  ran = Promise.withResolvers();
  collector.schedule();
  for (now of ['1999', '2000']) t.mock.timers.tick(now === '1999' ? 1999 : 1);
  await ran.promise;
  assert.deepEqual(runs, ['7000', '2000']);
});

test('schedule: runs take no more than the share of time that pause_threshold says', async () => {
  const WORK_MS = 20;
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const startsMs: number[] = [];
  let endMs = 0;
  using collector = new SqliteCollector(new Database(':memory:'), new LocalExchange(), {
    pauseThreshold: 0.05,
    onCollection: () => {
      endMs ||= performance.now();
      (startsMs.length === 1 ? first : second).resolve();
    },
  });
  collector.addCleaner({
    name: 'busy',
    clean: async () => {
      const startMs = performance.now();
      startsMs.push(startMs);
      while (performance.now() < startMs + WORK_MS);
    },
  });
  const keepAlive = setInterval(() => undefined, 1000); // the collector's own timer does not
  await collector.collect();
  await first.promise;
  collector.schedule();
  await second.promise;
  clearInterval(keepAlive);
  assert.ok((startsMs[1] ?? 0) - endMs >= WORK_MS / 0.05 - 1, `${startsMs} ${endMs}`);
});
