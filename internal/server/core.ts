import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { TsError } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import { Database } from '../metadata/database.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import type { Config } from './config.ts';

/** What the daemon's modules share. */
export interface Core {
  readonly config: Config;
  readonly log: Logger;
  readonly database: Database;
  /** By plugin id; filled by the module of the snapshots before later modules start. */
  readonly snapshotters: Map<string, Snapshotter>;
}

/** Opens the stores of the daemon below its root, which is made when absent. */
export function openCore(config: Config, log: Logger): Core {
  // Only root: layers hold set-uid programs and secrets (CVE-2021-41103, CVE-2024-25621).
  makePrivateDirectory(config.root);
  makePrivateDirectory(config.state);
  return {
    config,
    log,
    database: new Database(join(config.root, 'metadata.db')),
    snapshotters: new Map(),
  };
}

/** Makes `path` with its parents; itself with mode 0700 even when it was there. */
export function makePrivateDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chmodSync(path, 0o700);
  } catch (error) {
    throw TsError.from(error, `make directory ${path}`);
  }
}
