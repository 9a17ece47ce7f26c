// No key of the configuration is ignored in silence: each is read by the daemon, or setting it is told to have no effect,
// and why.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { CONFIG_V3 } from '../../internal/config/daemon-schema.ts';
import { loadConfig } from '../../internal/config/index.ts';
import type { Schema } from '../../internal/config/schema.ts';

const root = join(import.meta.dirname, '../..');
const directory = mkdtempSync(join(tmpdir(), 'config-keys-'));
after(() => rmSync(directory, { recursive: true, force: true }));

/** Who reads the configuration. */
const READERS = ['internal/server', 'internal/server/modules', 'internal/cri', 'cmd/tscontainerd'];

/** Read before there is a configuration. */
const BY_THE_READER = ['version', 'imports'];

function* leaves(
  schema: Schema,
  path: readonly string[] = [],
): Generator<{ path: readonly string[]; schema: Schema }> {
  if (schema.isIdle === true) yield { path, schema };
  else if (schema.kind === 'table') {
    for (const [key, field] of Object.entries(schema.fields)) yield* leaves(field, [...path, key]);
  } else {
    yield { path, schema };
    if (schema.kind === 'map' || schema.kind === 'tables') {
      yield* leaves(schema.element, [...path, '*']);
    }
  }
}

test('a key that is not idle is read', () => {
  const sources = READERS.flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
      .map((name) => readFileSync(join(root, folder, name), 'utf8')),
  ).join('\n');
  const unread = [...leaves(CONFIG_V3)]
    .filter(({ schema }) => schema.isIdle !== true)
    .map(({ path }) => path)
    .filter((path) => !BY_THE_READER.includes(path[0] ?? ''))
    .filter((path) => {
      const key = (path.at(-1) ?? '').replace('io.containerd.timeout.', '');
      return (
        key !== '*' && !new RegExp(`\\b${key.replaceAll('.', '\\.')}\\b|'${key}`).test(sources)
      );
    });
  assert.deepEqual(unread, []);
});

/** A value that is not the default. */
function otherValue(schema: Schema): string | undefined {
  switch (schema.kind) {
    case 'boolean':
      return String(!schema.default);
    case 'integer':
    case 'number':
      return String(schema.default + 7);
    case 'duration':
      return '"77s"';
    case 'string':
      return schema.choices === undefined ? '"other"' : undefined;
    case 'strings':
      return '["other"]';
    default:
      return undefined;
  }
}

/** The single values of an idle part. */
function* values(
  schema: Schema,
  path: readonly string[],
): Generator<readonly [path: readonly string[], value: string, isHarmless: boolean]> {
  if (schema.kind === 'table') {
    for (const [key, field] of Object.entries(schema.fields)) yield* values(field, [...path, key]);
    return;
  }
  const value = otherValue(schema);
  if (value === undefined || path.includes('*')) return;
  yield [path, value, schema.harmless?.some((one) => JSON.stringify(one) === value) === true];
}

test('setting an idle key is told, with its line and why, unless it asks for what is so', () => {
  let tried = 0;
  for (const leaf of leaves(CONFIG_V3)) {
    if (leaf.schema.isIdle !== true) continue;
    const { why } = leaf.schema;
    assert.ok(why !== undefined, leaf.path.join('.'));
    for (const [path, value, isHarmless] of values(leaf.schema, leaf.path)) {
      const names = path.map((key) => JSON.stringify(key));
      const file = join(directory, 'config.toml');
      writeFileSync(file, `version = 3\n${names.join('.')} = ${value}\n`);
      const { warnings } = loadConfig(file, true);
      const key = path.map((name) => (/^[\w-]+$/.test(name) ? name : `"${name}"`)).join('.');
      const told: string = `${file}:2: ${key} has no effect in this version: ${why}`;
      assert.deepEqual(warnings, isHarmless ? [] : [told]);
      tried++;
    }
  }
  assert.ok(tried > 50, `${tried} keys`);
});
