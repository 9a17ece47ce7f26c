import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type ConfigFile, durationMs } from '../config/index.ts';
import { LocalContentStore } from '../content/local-content-store.ts';
import { TsError } from '../errors/index.ts';
import type { EventExchange } from '../events/event-exchange.ts';
import { LocalExchange } from '../events/local-exchange.ts';
import { SqliteCollector } from '../gc/sqlite-collector.ts';
import type { ImageStore } from '../images/image-store.ts';
import type { ImageTransfer } from '../images/image-transfer.ts';
import { SqliteImageStore } from '../images/sqlite-image-store.ts';
import type { Logger } from '../log/index.ts';
import type { ContainerStore } from '../metadata/container-store.ts';
import { Database } from '../metadata/database.ts';
import type { LeaseStore } from '../metadata/lease-store.ts';
import { NamespaceStore } from '../metadata/namespace-store.ts';
import { SqliteContainerStore } from '../metadata/sqlite-container-store.ts';
import { SqliteLeaseStore } from '../metadata/sqlite-lease-store.ts';
import { MetricRegistry } from '../metrics/index.ts';
import type { GrpcService } from '../services/context.ts';
import type { Differ } from '../snapshots/differ.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import type { LocalTaskManager } from '../tasks/local-task-manager.ts';
import { collectionMetrics } from './gc-metrics.ts';
import { RootLock } from './root-lock.ts';

/** What the daemon's modules share. */
export interface Core {
  readonly config: ConfigFile;
  readonly log: Logger;
  readonly metrics: MetricRegistry;
  readonly lock: RootLock;
  readonly database: Database;
  readonly events: EventExchange;
  readonly gc: SqliteCollector;
  readonly namespaces: NamespaceStore;
  readonly containers: ContainerStore;
  readonly content: LocalContentStore;
  readonly images: ImageStore;
  readonly leases: LeaseStore;
  /** By plugin id; filled by the module of the snapshots before later modules are opened. */
  readonly snapshotters: Map<string, Snapshotter>;
  /** What turns layers into snapshots, by plugin id; filled like the snapshotters. */
  readonly differs: Map<string, Differ>;
  /** The services of the modules that are open, by name, for those that are clients of them. */
  readonly services: Map<string, GrpcService>;
  /** Filled by the modules that make them, before the CRI is opened. */
  transfer: ImageTransfer | undefined;
  tasks: LocalTaskManager | undefined;
}

/** Where the content store keeps its files, below the daemon's root. */
export const CONTENT_DIRECTORY = 'io.containerd.content.v1.content';

/** Opens the stores of the daemon below its root, which is made when absent. */
export function openCore(config: ConfigFile, log: Logger): Core {
  // Only root: layers hold set-uid programs and secrets (CVE-2021-41103, CVE-2024-25621).
  makePrivateDirectory(config.root);
  // A configured owner of the socket must reach it; everything beside it stays closed.
  const isSocketForOthers = config.grpc.uid !== 0 || config.grpc.gid !== 0;
  makePrivateDirectory(config.state, isSocketForOthers ? 0o711 : 0o700);
  const lock = new RootLock(config.root);
  try {
    return openStores(config, log, lock);
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
}

function openStores(config: ConfigFile, log: Logger, lock: RootLock): Core {
  const database = new Database(join(config.root, 'metadata.db'));
  const events = new LocalExchange();
  const metrics = new MetricRegistry();
  const collections = collectionMetrics(metrics);
  const scheduler = config.plugins['io.containerd.gc.v1.scheduler'];
  const gc = new SqliteCollector(database, events, {
    pauseThreshold: scheduler.pause_threshold,
    deletionThreshold: scheduler.deletion_threshold,
    mutationThreshold: scheduler.mutation_threshold,
    delayMs: durationMs(scheduler.schedule_delay),
    startupDelayMs: durationMs(scheduler.startup_delay),
    onCollection: (collection) => {
      collections.succeeded(collection.durationMs);
      log.debug(collection, 'collected garbage');
    },
    onError: (error) => {
      collections.failed();
      log.error({ error }, 'collect garbage');
    },
  });
  const content = new LocalContentStore(
    join(config.root, CONTENT_DIRECTORY),
    database,
    events,
    gc,
    { isShared: isContentShared(config) },
  );
  gc.addCleaner(content);
  return {
    config,
    log,
    metrics,
    lock,
    database,
    events,
    gc,
    namespaces: new NamespaceStore(database, events),
    containers: new SqliteContainerStore(database, events, gc),
    content,
    images: new SqliteImageStore(database, events, gc),
    leases: new SqliteLeaseStore(database, gc),
    snapshotters: new Map(),
    differs: new Map(),
    services: new Map(),
    transfer: undefined,
    tasks: undefined,
  };
}

/** Whether a namespace gets a blob that another one has without its bytes being sent. */
export function isContentShared(config: ConfigFile): boolean {
  return config.plugins['io.containerd.metadata.v1.bolt'].content_sharing_policy !== 'isolated';
}

/** Closes the stores and lets another daemon have the root. */
export function closeCore(core: Core): void {
  core.content.close();
  core.database.close();
  core.lock[Symbol.dispose]();
}

/** Makes `path` with its parents; itself gets the mode even when it was there. */
export function makePrivateDirectory(path: string, mode = 0o700): void {
  try {
    mkdirSync(path, { recursive: true, mode });
    chmodSync(path, mode);
  } catch (error) {
    throw TsError.from(error, `make directory ${path}`);
  }
}
