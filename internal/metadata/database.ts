import { closeSync, constants, existsSync, fstatSync, openSync, rmSync, writeSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { DatabaseSync, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { isErrno, TsError } from '../errors/index.ts';
import { MIGRATIONS } from './schema.ts';

/** Marks the file as ours: "TSCD". */
const APPLICATION_ID = 0x54534344;

export type Parameter = null | number | bigint | string | Uint8Array;
/** A row by column name. Integers are bigint: times in nanoseconds do not fit a number. */
export type Row = Record<string, SQLOutputValue>;

const DISK_FULL = 'TS_METADATA_DISK_FULL';
/** SQLite's result code for a disk without space. */
const SQLITE_FULL = 13;
/** Commits between two looks at the size of the write-ahead log. */
const COMMITS_PER_CHECK = 256;
/** Size of the write-ahead log from which it is copied into the database. */
const CHECKPOINT_BYTES = 4 * 1024 * 1024;
/** Space that the write-ahead log has from the beginning, and as much for what it adds to the database. */
const RESERVED_BYTES = 2 * 1024 * 1024;

/**
 * The metadata of the daemon in one SQLite file.
 *
 * Write-ahead log: a commit is an append to the page cache, microseconds, and does not wait for the
 * disk (but for the log's first page, once in 4 MB), so that no call of a client does. A killed
 * daemon loses no commit; after a power cut the database is the consistent state of some moment
 * before, so whoever destroys data on disk awaits `sync()` first. Syncing, and copying the log into
 * the database, happen in other threads. All other calls are synchronous: no transaction is
 * interleaved with another.
 *
 * Removing something is a commit too, and must work when the disk is full, or it stays full: the
 * log has space in reserve, which no image can take; and when the log is full, so has the database,
 * into which it is copied to begin anew.
 */
export class Database implements Disposable {
  readonly #path: string;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #depth = 0;
  #commits = 0;
  #checkpoint: Promise<void> | undefined;

  /**
   * Opens or creates the database at `path` and brings its schema up to date. A file of a newer
   * schema or of another program is FailedPrecondition.
   */
  constructor(path: string, migrations: readonly string[] = MIGRATIONS) {
    this.#path = path;
    try {
      this.#db = new DatabaseSync(path, { timeout: 5000, readBigInts: true });
    } catch (error) {
      throw TsError.from(error, `open metadata database ${path}`);
    }
    try {
      this.#db.exec(
        'PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;',
      );
      this.#migrate(path, migrations);
      reserve(path);
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
    const { changes } = this.#write(() => this.#prepare(sql).run(...parameters));
    if (this.#depth === 0) this.#countCommit();
    return Number(changes);
  }

  /** Runs a statement that inserts one row and returns the row's integer key. */
  insert(sql: string, ...parameters: Parameter[]): bigint {
    const { lastInsertRowid } = this.#write(() => this.#prepare(sql).run(...parameters));
    if (this.#depth === 0) this.#countCommit();
    return BigInt(lastInsertRowid);
  }

  /**
   * Runs `body`, which must be synchronous, as one transaction: all of it or, when it throws,
   * nothing. Inside of another transaction it is part of that one.
   */
  transaction<T>(body: () => T): T {
    if (this.#depth > 0) return body();
    this.#write(() => this.#db.exec('BEGIN IMMEDIATE'));
    this.#depth++;
    try {
      const result = body();
      this.#write(() => this.#db.exec('COMMIT'));
      this.#countCommit();
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      if (error instanceof TsError && error.code === DISK_FULL) this.#restartLog();
      throw error;
    } finally {
      this.#depth--;
    }
  }

  /** Makes all commits so far survive a power cut. */
  async sync(): Promise<void> {
    // A commit is durable when its part of the log is. SQLite holds no lock on the log's file, so
    // closing this descriptor takes none away (as it would with the database's own).
    let log: Awaited<ReturnType<typeof open>>;
    try {
      log = await open(`${this.#path}-wal`, 'r');
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return; // nothing was written since the database was opened
      throw TsError.from(error, `sync metadata database ${this.#path}`);
    }
    try {
      await log.datasync();
    } finally {
      await log.close();
    }
  }

  close(): void {
    this.#statements.clear();
    this.#db.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** A full disk is the one failure of a write that is not a bug, and that a person can end. */
  #write<T>(operation: () => T): T {
    try {
      return operation();
    } catch (error) {
      if ((error as { errcode?: number }).errcode !== SQLITE_FULL) throw error;
      if (this.#depth === 0) this.#restartLog();
      throw new TsError('ResourceExhausted', `write metadata database ${this.#path}: ENOSPC`, {
        code: DISK_FULL,
        cause: error,
        advice: 'free disk space',
      });
    }
  }

  /** Copies the log into the database, so that the next commit begins the log anew, in space that it has. */
  #restartLog(): void {
    if (this.#copyLog()) return;
    // The database cannot grow: it gets what is kept for that. What was to be said of the disk is being said.
    rmSync(reserveOf(this.#path), { force: true });
    this.#copyLog();
  }

  /** False: there is no space for it. */
  #copyLog(): boolean {
    try {
      this.#db.exec('PRAGMA wal_checkpoint(RESTART)');
      return true;
    } catch (error) {
      if ((error as { errcode?: number }).errcode !== SQLITE_FULL) throw error;
      return false;
    }
  }

  #countCommit(): void {
    if (++this.#commits % COMMITS_PER_CHECK !== 0 || this.#checkpoint !== undefined) return;
    reserve(this.#path); // anew, when there was no space for it, or it was needed
    this.#checkpoint = checkpointIfLarge(this.#path).finally(() => {
      this.#checkpoint = undefined;
    });
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

const reserveOf = (path: string): string => `${path}-reserve`;

/** Takes the space that is to be there when the disk is full, as far as there is any now. */
function reserve(path: string): void {
  const log = `${path}-wal`;
  if (!existsSync(log)) return; // in memory, or of a file system that has no shared memory
  // Zeros at its end are no frames of the log: who reads it stops before them, and who writes writes over them.
  lengthen(log);
  lengthen(reserveOf(path));
}

function lengthen(path: string): void {
  let fd: number | undefined;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    const { size } = fstatSync(fd);
    if (size < RESERVED_BYTES) writeSync(fd, Buffer.alloc(RESERVED_BYTES - size), 0, null, size);
  } catch (error) {
    if (!isErrno(error, 'ENOSPC', 'EDQUOT')) throw error;
  } finally {
    if (fd !== undefined) closeSync(fd); // SQLite holds no lock on the log's file
  }
}

/** Runs in its own thread, with its own connection; it makes no other connection wait. */
const CHECKPOINT_THREAD = `
  const { workerData } = require('node:worker_threads');
  const { DatabaseSync } = require('node:sqlite');
  const db = new DatabaseSync(workerData, { timeout: 5000 });
  db.exec('PRAGMA wal_checkpoint(PASSIVE)');
  db.close();
`;

/**
 * Copies the write-ahead log into the database when it has grown. A failure is no error of anybody:
 * the log goes on growing, and the next check tries again.
 */
async function checkpointIfLarge(path: string): Promise<void> {
  try {
    if ((await stat(`${path}-wal`)).size < CHECKPOINT_BYTES) return;
  } catch {
    return; // closed meanwhile
  }
  await new Promise<void>((resolve) => {
    const worker = new Worker(CHECKPOINT_THREAD, { eval: true, workerData: path });
    worker.unref();
    worker.once('error', () => undefined); // 'exit' follows
    worker.once('exit', () => resolve());
  });
}
