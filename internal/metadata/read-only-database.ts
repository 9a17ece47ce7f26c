import { DatabaseSync } from 'node:sqlite';
import { TsError } from '../errors/index.ts';
import type { Parameter, Row } from './database.ts';
import { MIGRATIONS } from './schema.ts';

/** The metadata database as it lies there: nothing is migrated, nothing is written. */
export class ReadOnlyDatabase implements Disposable {
  readonly #db: DatabaseSync;

  /** Throws FailedPrecondition for a file of another schema than this program's. */
  constructor(path: string) {
    try {
      this.#db = new DatabaseSync(path, { readOnly: true, timeout: 5000, readBigInts: true });
    } catch (error) {
      throw TsError.from(error, `open metadata database ${path}`);
    }
    const version = Number(this.all('PRAGMA user_version')[0]?.['user_version']);
    if (version !== MIGRATIONS.length) {
      this.#db.close();
      throw new TsError(
        'FailedPrecondition',
        `open metadata database ${path}: schema version ${version}, this program knows ${MIGRATIONS.length}`,
        {
          code: 'TS_SCHEMA_VERSION',
          advice:
            version < MIGRATIONS.length
              ? 'start the daemon once: it brings the database up to date'
              : 'use the version of the daemon that wrote it, or a later one',
        },
      );
    }
  }

  all<T = Row>(sql: string, ...parameters: Parameter[]): T[] {
    return this.#db.prepare(sql).all(...parameters) as T[];
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }
}
