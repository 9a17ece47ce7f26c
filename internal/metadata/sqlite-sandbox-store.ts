import type { AnyMessage } from '../api/any.ts';
import { nowNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import type { Database } from './database.ts';
import { compileFilters, type FieldLookup, lookUpMap, present } from './filters.ts';
import { checkIdentifier } from './identifiers.ts';
import { checkLabels, decodeMap, encodeLabels, withEntry } from './labels.ts';
import { ensureNamespace } from './namespace-store.ts';
import type { NewSandbox, SandboxRecord, SandboxStore } from './sandbox-store.ts';
import type { Scope } from './scope.ts';

interface SandboxRow {
  readonly id: string;
  readonly runtime_name: string;
  readonly runtime_options_type: string | null;
  readonly runtime_options: Uint8Array | null;
  readonly spec_type: string | null;
  readonly spec: Uint8Array | null;
  readonly labels: string;
  readonly extensions: string;
  readonly sandboxer: string;
  readonly created_at: bigint;
  readonly updated_at: bigint;
}

/** Sandbox records in the metadata database. */
export class SqliteSandboxStore implements SandboxStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  get(scope: Scope, id: string): SandboxRecord {
    const row = this.#database.get<SandboxRow>(
      'SELECT * FROM sandboxes WHERE namespace = ? AND id = ?',
      scope.namespace,
      id,
    );
    if (row === undefined) throw notFound(scope, id);
    return recordOf(row);
  }

  list(scope: Scope, filters?: readonly string[]): SandboxRecord[] {
    const matches = compileFilters(filters);
    return this.#database
      .all<SandboxRow>('SELECT * FROM sandboxes WHERE namespace = ? ORDER BY id', scope.namespace)
      .map(recordOf)
      .filter((record) => matches(fieldsOf(record)));
  }

  create(scope: Scope, sandbox: NewSandbox): SandboxRecord {
    checkSandbox(sandbox);
    const now = nowNs();
    return this.#database.transaction(() => {
      ensureNamespace(this.#database, scope.namespace);
      const sql = 'SELECT 1 FROM sandboxes WHERE namespace = ? AND id = ?';
      if (this.#database.get(sql, scope.namespace, sandbox.id) !== undefined) {
        throw new TsError('AlreadyExists', `sandbox "${sandbox.id}": already exists`);
      }
      this.#write(scope, { ...sandbox, createdAt: now, updatedAt: now });
      return this.get(scope, sandbox.id);
    });
  }

  update(scope: Scope, update: NewSandbox, fieldPaths: readonly string[]): SandboxRecord {
    return this.#database.transaction(() => {
      const current = this.get(scope, update.id);
      if (fieldPaths.length === 0 && current.runtime.name !== update.runtime.name) {
        throw invalid('sandbox.Runtime.Name field is immutable');
      }
      const paths = fieldPaths.length === 0 ? ['labels', 'extensions', 'spec'] : fieldPaths;
      let merged = current;
      for (const path of paths) merged = { ...merged, ...updatedField(merged, update, path) };
      checkSandbox(merged);
      this.#write(scope, { ...merged, updatedAt: nowNs() });
      return this.get(scope, update.id);
    });
  }

  delete(scope: Scope, id: string): void {
    const deleted = this.#database.run(
      'DELETE FROM sandboxes WHERE namespace = ? AND id = ?',
      scope.namespace,
      id,
    );
    if (deleted === 0) throw notFound(scope, id);
  }

  #write(scope: Scope, { runtime, spec, ...record }: SandboxRecord): void {
    this.#database.run(
      `INSERT OR REPLACE INTO sandboxes (namespace, id, runtime_name, runtime_options_type,
         runtime_options, spec_type, spec, labels, extensions, sandboxer, created_at, updated_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      scope.namespace,
      record.id,
      runtime.name,
      runtime.options?.typeUrl ?? null,
      runtime.options?.value ?? null,
      spec?.typeUrl ?? null,
      spec?.value ?? null,
      encodeLabels(record.labels),
      encodeExtensions(record.extensions),
      record.sandboxer,
      record.createdAt,
      record.updatedAt,
    );
  }
}

function updatedField(
  current: SandboxRecord,
  update: NewSandbox,
  path: string,
): Partial<SandboxRecord> {
  if (path.startsWith('labels.')) {
    return { labels: withEntry(current.labels, path.slice('labels.'.length), update.labels) };
  }
  if (path.startsWith('extensions.')) {
    const name = path.slice('extensions.'.length);
    const extensions = new Map(current.extensions);
    const extension = update.extensions.get(name);
    if (extension === undefined) extensions.delete(name);
    else extensions.set(name, extension);
    return { extensions };
  }
  switch (path) {
    case 'labels':
      return { labels: update.labels };
    case 'extensions':
      return { extensions: update.extensions };
    case 'runtime':
      return { runtime: update.runtime };
    case 'spec':
      return { spec: update.spec };
    default:
      throw invalid(`cannot update "${path}" field on sandbox "${update.id}"`);
  }
}

function checkSandbox(sandbox: NewSandbox): void {
  try {
    checkIdentifier('invalid sandbox ID', sandbox.id);
    if (sandbox.runtime.name === '') throw invalid('sandbox.Runtime.Name must be set');
    checkLabels('sandbox.Labels', sandbox.labels);
  } catch (error) {
    throw TsError.from(error).within('failed to validate sandbox');
  }
}

function invalid(text: string): TsError {
  return new TsError('InvalidArgument', `${text}: invalid argument`);
}

function notFound(scope: Scope, id: string): TsError {
  return new TsError('NotFound', `sandbox "${id}" in namespace "${scope.namespace}": not found`);
}

function recordOf(row: SandboxRow): SandboxRecord {
  return {
    id: row.id,
    runtime: {
      name: row.runtime_name,
      options: anyOf(row.runtime_options_type, row.runtime_options),
    },
    spec: anyOf(row.spec_type, row.spec),
    labels: decodeMap(row.labels),
    extensions: decodeExtensions(row.extensions),
    sandboxer: row.sandboxer,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

function anyOf(typeUrl: string | null, value: Uint8Array | null): AnyMessage | undefined {
  return typeUrl === null || value === null ? undefined : { typeUrl, value };
}

/** A JSON object of `[type, base64]`. */
function encodeExtensions(extensions: ReadonlyMap<string, AnyMessage>): string {
  const entries = [...extensions].map(([name, { typeUrl, value }]) => {
    return [name, [typeUrl, Buffer.from(value).toString('base64')]] as const;
  });
  return JSON.stringify(Object.fromEntries(entries));
}

function decodeExtensions(column: string): Map<string, AnyMessage> {
  const entries = Object.entries(JSON.parse(column) as Record<string, [string, string]>);
  return new Map(
    entries.map(([name, [typeUrl, value]]) => [
      name,
      { typeUrl, value: Buffer.from(value, 'base64') },
    ]),
  );
}

/** containerd filters by id and labels alone. */
function fieldsOf(record: SandboxRecord): FieldLookup {
  return (path) => {
    if (path[0] === 'id') return present(record.id);
    return path[0] === 'labels' ? lookUpMap(record.labels, path) : undefined;
  };
}
