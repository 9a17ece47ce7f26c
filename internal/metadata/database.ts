import { DatabaseSync, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { TsError } from '../errors/index.ts';
import { MIGRATIONS } from './schema.ts';

/** Marks the file as ours: "TSCD". */
const APPLICATION_ID = 0x54534344;

export type Parameter = null | number | bigint | string | Uint8Array;
/** A row by column name. Integers are bigint: times in nanoseconds do not fit a number. */
export type Row = Record<string, SQLOutputValue>;

/**
 * The metadata of the daemon in one SQLite file.
 *
 * Write-ahead log: readers never wait for a writer, and a commit is an append without a sync.
 * A killed daemon loses no commit; after a power cut the database is the consistent state of some
 * moment before, so whoever destroys data on disk calls `sync()` first. All calls are synchronous
 * and take microseconds: a transaction cannot be interleaved with another.
 */
export class Database implements Disposable {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #depth = 0;

  /**
   * Opens or creates the database at `path` and brings its schema up to date. A file of a newer
   * schema or of another program is FailedPrecondition.
   */
  constructor(path: string, migrations: readonly string[] = MIGRATIONS) {
    try {
      this.#db = new DatabaseSync(path, { timeout: 5000, readBigInts: true });
    } catch (error) {
      throw TsError.from(error, `open metadata database ${path}`);
    }
    try {
      this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;');
      this.#migrate(path, migrations);
    } catch (error) {
      this.#db.close();
      throw TsError.from(error, `open metadata database ${path}`);
    }
  }

  /** Schema version of the open database. */
  get version(): number {
    return Number(this.get('PRAGMA user_version')?.['user_version']);
  }

  /** The first row, or undefined. `T` describes the selected columns; strict tables keep them so. */
  get<T = Row>(sql: string, ...parameters: Parameter[]): T | undefined {
    return this.#prepare(sql).get(...parameters) as T | undefined;
  }

  /** All rows. */
  all<T = Row>(sql: string, ...parameters: Parameter[]): T[] {
    return this.#prepare(sql).all(...parameters) as T[];
  }

  /** Runs a statement and returns how many rows it changed. */
  run(sql: string, ...parameters: Parameter[]): number {
    return Number(this.#prepare(sql).run(...parameters).changes);
  }

  /** Runs a statement that inserts one row and returns the row's integer key. */
  insert(sql: string, ...parameters: Parameter[]): bigint {
    return BigInt(this.#prepare(sql).run(...parameters).lastInsertRowid);
  }

  /**
   * Runs `body`, which must be synchronous, as one transaction: all of it or, when it throws,
   * nothing. Inside of another transaction it is part of that one.
   */
  transaction<T>(body: () => T): T {
    if (this.#depth > 0) return body();
    this.#db.exec('BEGIN IMMEDIATE');
    this.#depth++;
    try {
      const result = body();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    } finally {
      this.#depth--;
    }
  }

  /** Makes all commits so far survive a power cut. Milliseconds: the disk is synced. */
  sync(): void {
    this.#db.exec('PRAGMA wal_checkpoint(PASSIVE)');
  }

  close(): void {
    this.#statements.clear();
    this.#db.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #migrate(path: string, migrations: readonly string[]): void {
    const found = this.version;
    const application = Number(this.get('PRAGMA application_id')?.['application_id']);
    if (application !== APPLICATION_ID && (application !== 0 || !this.#isEmpty())) {
      throw new TsError('FailedPrecondition', `${path} is the database of another program`, {
        code: 'TS_METADATA_FOREIGN',
        advice: 'point root to another directory',
      });
    }
    if (found > migrations.length) {
      throw new TsError(
        'FailedPrecondition',
        `${path} has schema ${found}, this tscontainerd knows up to ${migrations.length}`,
        {
          code: 'TS_METADATA_NEWER',
          advice: 'start the newer tscontainerd that wrote it',
        },
      );
    }
    if (found === migrations.length) return;
    this.transaction(() => {
      for (const statements of migrations.slice(found)) this.#db.exec(statements);
      this.#db.exec(`PRAGMA user_version = ${migrations.length}`);
      this.#db.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
    });
  }

  #isEmpty(): boolean {
    return this.get('SELECT 1 FROM sqlite_schema LIMIT 1') === undefined;
  }
}
