import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { TsError } from '../errors/index.ts';
import { Database } from './database.ts';
import { MIGRATIONS } from './schema.ts';

function temporaryPath(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'database-test-'));
  context.after(() => rmSync(directory, { recursive: true }));
  return join(directory, 'metadata.db');
}

const COUNTER = ['CREATE TABLE counter (value INTEGER) STRICT'];

test('Database: a new file has the newest schema and opens again', (context) => {
  const path = temporaryPath(context);
  new Database(path).close();
  using database = new Database(path);
  assert.equal(database.version, MIGRATIONS.length);
});

test('Database: its log has space that nothing else can take, and what is there is no record', (context) => {
  const path = temporaryPath(context);
  using database = new Database(path, COUNTER);
  assert.equal(statSync(`${path}-wal`).size, 2 << 20);
  database.run('INSERT INTO counter (value) VALUES (1)');
  assert.equal(statSync(`${path}-wal`).size, 2 << 20);
  using after = new Database(path, COUNTER); // as if the first had been killed
  assert.equal(after.all('SELECT value FROM counter').length, 1);
  assert.equal(after.run('UPDATE counter SET value = 2'), 1);
});

test('Database: a file of an older schema is migrated', (context) => {
  const path = temporaryPath(context);
  new Database(path, COUNTER).close();
  using database = new Database(path, [...COUNTER, 'ALTER TABLE counter ADD COLUMN name TEXT']);
  assert.equal(database.version, 2);
  database.run('INSERT INTO counter (value, name) VALUES (1, ?)', 'one');
  assert.deepEqual(
    database.get('SELECT name FROM counter'),
    Object.assign(Object.create(null), { name: 'one' }),
  );
});

test('Database: a database of each released schema is brought up to date', (context) => {
  for (let version = 1; version < MIGRATIONS.length; version++) {
    const path = temporaryPath(context);
    {
      using old = new Database(path, MIGRATIONS.slice(0, version));
      old.run("INSERT INTO namespaces (name, labels) VALUES ('kept', '{}')");
    }
    using database = new Database(path);
    assert.equal(database.version, MIGRATIONS.length);
    assert.equal(database.get<{ name: string }>('SELECT name FROM namespaces')?.name, 'kept');
  }
});

test('Database: a migration that fails leaves the old schema', (context) => {
  const path = temporaryPath(context);
  new Database(path, COUNTER).close();
  assert.throws(() => new Database(path, [...COUNTER, 'CREATE TABLE x (a); nonsense']), TsError);
  using database = new Database(path, COUNTER);
  assert.equal(database.get(`SELECT 1 FROM sqlite_schema WHERE name = 'x'`), undefined);
});

test('Database: refuses a file of a newer schema', (context) => {
  const path = temporaryPath(context);
  new Database(path, [...COUNTER, 'CREATE TABLE later (a)']).close();
  assert.throws(() => new Database(path, COUNTER), {
    code: 'TS_METADATA_NEWER',
    message: `${path} has schema 2, this tscontainerd knows up to 1`,
    advice: 'start the newer tscontainerd that wrote it',
  });
});

test('Database: refuses the database of another program', (context) => {
  const path = temporaryPath(context);
  const other = new DatabaseSync(path);
  other.exec('CREATE TABLE theirs (a)');
  other.close();
  assert.throws(() => new Database(path), { code: 'TS_METADATA_FOREIGN' });
});

test('transaction: all or nothing, and one inside of another is part of it', (context) => {
  using database = new Database(temporaryPath(context), COUNTER);
  const insert = (value: number) => database.run('INSERT INTO counter VALUES (?)', value);
  assert.throws(() =>
    database.transaction(() => {
      insert(1);
      database.transaction(() => insert(2));
      throw new Error('stop');
    }),
  );
  database.transaction(() => insert(3));
  const values = database.all<{ value: bigint }>('SELECT value FROM counter');
  assert.deepEqual(
    values.map(({ value }) => value),
    [3n],
  );
});

test('Database: numbers beyond 2^53 come back exactly', (context) => {
  using database = new Database(temporaryPath(context), COUNTER);
  const time = 1_700_000_000_123_456_789n;
  database.run('INSERT INTO counter VALUES (?)', time);
  assert.equal(database.get<{ value: bigint }>('SELECT value FROM counter')?.value, time);
});

test('Database: a long log is copied into the database while it is written to', async (context) => {
  const path = temporaryPath(context);
  using database = new Database(path, ['CREATE TABLE blob (bytes BLOB) STRICT']);
  const bytes = Buffer.alloc(32 * 1024, 7);
  const before = statSync(path).size;
  const deadlineMs = performance.now() + 20_000;
  while (statSync(path).size === before) {
    assert.ok(performance.now() < deadlineMs, 'the log was not copied within 20 s');
    for (let i = 0; i < 64; i++) database.run('INSERT INTO blob VALUES (?)', bytes);
    await new Promise(setImmediate);
  }
  await database.sync();
});
