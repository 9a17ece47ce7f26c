import { nowNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import type { Database } from '../metadata/database.ts';
import { compileFilters, lookUpMap } from '../metadata/filters.ts';
import { checkLabels, decodeMap, encodeLabels, withEntry } from '../metadata/labels.ts';
import type { Labels, Scope } from '../metadata/scope.ts';
import type { ContentInfo, Digest } from './content-store.ts';

interface ContentRow {
  readonly digest: Digest;
  readonly size: bigint;
  readonly labels: string;
  readonly created_at: bigint;
  readonly updated_at: bigint;
}

/** An unfinished blob as the database knows it. */
export interface IngestRow {
  readonly ref: string;
  readonly directory: string;
  readonly expected: Digest | '';
  readonly total: bigint;
  readonly started_at: bigint;
}

/** What the metadata database knows of blobs and ingests, per namespace. */
export class ContentRecords {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  find(scope: Scope, digest: string): ContentInfo | undefined {
    const row = this.#database.get<ContentRow>(
      'SELECT * FROM content WHERE namespace = ? AND digest = ?',
      scope.namespace,
      digest,
    );
    return row && infoOf(row);
  }

  get(scope: Scope, digest: string): ContentInfo {
    const info = this.find(scope, digest);
    if (info === undefined) throw contentNotFound(digest);
    return info;
  }

  list(scope: Scope, filters?: readonly string[]): ContentInfo[] {
    const matches = compileFilters(filters);
    return this.#database
      .all<ContentRow>('SELECT * FROM content WHERE namespace = ? ORDER BY digest', scope.namespace)
      .map(infoOf)
      .filter((info) =>
        matches((path) => {
          if (path[0] === 'digest') return info.digest;
          if (path[0] === 'size') return String(info.sizeBytes);
          return path[0] === 'labels' ? lookUpMap(info.labels, path) : undefined;
        }),
      );
  }

  /** Size of a blob that any namespace has, or undefined. */
  sizeAnywhere(digest: Digest): number | undefined {
    const row = this.#database.get<{ size: bigint }>(
      'SELECT size FROM content WHERE digest = ? LIMIT 1',
      digest,
    );
    return row && Number(row.size);
  }

  insert(scope: Scope, digest: Digest, sizeBytes: number, labels: Labels): void {
    const now = nowNs();
    this.#database.run(
      `INSERT INTO content (namespace, digest, size, labels, created_at, updated_at)
       VALUES (?, ?, ?, ?, ?, ?)`,
      scope.namespace,
      digest,
      sizeBytes,
      encodeLabels(labels),
      now,
      now,
    );
  }

  updateLabels(
    scope: Scope,
    digest: string,
    update: Labels,
    fieldPaths: readonly string[],
  ): ContentInfo {
    return this.#database.transaction(() => {
      let { labels } = this.get(scope, digest);
      if (fieldPaths.length === 0) labels = update;
      for (const path of fieldPaths) {
        if (path === 'labels') labels = update;
        else if (path.startsWith('labels.')) {
          labels = withEntry(labels, path.slice('labels.'.length), update);
        } else {
          throw new TsError(
            'InvalidArgument',
            `cannot update "${path}" field on content info "${digest}": invalid argument`,
          );
        }
      }
      checkLabels('info.Labels', labels);
      this.#database.run(
        'UPDATE content SET labels = ?, updated_at = ? WHERE namespace = ? AND digest = ?',
        encodeLabels(labels),
        nowNs(),
        scope.namespace,
        digest,
      );
      return this.get(scope, digest);
    });
  }

  /** Returns whether there was such a blob. */
  delete(scope: Scope, digest: string): boolean {
    const sql = 'DELETE FROM content WHERE namespace = ? AND digest = ?';
    return this.#database.run(sql, scope.namespace, digest) > 0;
  }

  findIngest(scope: Scope, ref: string): IngestRow | undefined {
    return this.#database.get<IngestRow>(
      'SELECT * FROM ingests WHERE namespace = ? AND ref = ?',
      scope.namespace,
      ref,
    );
  }

  listIngests(scope: Scope): IngestRow[] {
    return this.#database.all<IngestRow>(
      'SELECT * FROM ingests WHERE namespace = ? ORDER BY ref',
      scope.namespace,
    );
  }

  /** Inserts or refreshes an ingest. `expiresAt` 0: a lease decides. */
  saveIngest(scope: Scope, row: IngestRow, expiresAt: bigint): void {
    this.#database.run(
      `INSERT INTO ingests (namespace, ref, directory, expected, total, started_at, expires_at)
       VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (namespace, ref) DO UPDATE SET expected = excluded.expected,
         total = excluded.total, expires_at = excluded.expires_at`,
      scope.namespace,
      row.ref,
      row.directory,
      row.expected,
      row.total,
      row.started_at,
      expiresAt,
    );
  }

  deleteIngest(scope: Scope, ref: string): void {
    this.#database.run('DELETE FROM ingests WHERE namespace = ? AND ref = ?', scope.namespace, ref);
  }

  hasIngestDirectory(directory: string): boolean {
    const sql = 'SELECT 1 FROM ingests WHERE directory = ?';
    return this.#database.get(sql, directory) !== undefined;
  }
}

export function contentNotFound(digest: string): TsError {
  return new TsError('NotFound', `content digest ${digest}: not found`);
}

function infoOf(row: ContentRow): ContentInfo {
  return {
    digest: row.digest,
    sizeBytes: Number(row.size),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    labels: decodeMap(row.labels),
  };
}
