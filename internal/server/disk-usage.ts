/**
 * Whose the bytes below the daemon's root are: each file is counted once, for all that keep it by the collector's rules, so
 * that the lines add up to what `du` says. It changes nothing, and the daemon may be running.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { TsError } from '../errors/index.ts';
import { GcRecords } from '../gc/gc-records.ts';
import { type Node, node } from '../gc/references.ts';
import { UNCOMPRESSED_LABEL } from '../images/layer-media-type.ts';
import { ReadOnlyDatabase } from '../metadata/read-only-database.ts';
import { CONTENT_DIRECTORY } from './core.ts';
import { DiskFiles, namesIn } from './disk-files.ts';

const SNAPSHOTTER = 'io.containerd.snapshotter.v1.';

/** Bytes that the same owners keep. */
export interface DiskShare {
  /** `image NAME in namespace NS`, `container …`, `lease …`; or why nobody keeps them. */
  readonly owners: readonly string[];
  readonly bytes: number;
  readonly blobs: number;
  readonly snapshots: number;
}

export interface DiskUsage {
  /** The largest first. */
  readonly shares: readonly DiskShare[];
  readonly totalBytes: number;
  /** Of them, compressed layers that are unpacked as well. */
  readonly unpackedLayerBytes: number;
}

/** Reads the usage below `root`. Throws NotFound where there never was a daemon. */
export function readDiskUsage(root: string): DiskUsage {
  const path = join(root, 'metadata.db');
  if (!existsSync(path)) {
    throw new TsError('NotFound', `measure ${root}: there is no metadata.db`, {
      advice: 'name the root directory of the daemon with --root',
    });
  }
  using database = new ReadOnlyDatabase(path);
  const account = new Account(root, database);
  account.addBlobs();
  account.addIngests();
  account.addSnapshots();
  account.addOthers();
  return account.usage();
}

interface Found {
  bytes: number;
  blobs: number;
  snapshots: number;
}

class Account {
  readonly #root: string;
  readonly #database: ReadOnlyDatabase;
  readonly #files = new DiskFiles();
  readonly #records: GcRecords;
  /** The names of those that keep a record. */
  readonly #owners = new Map<Node, string[]>();
  readonly #shares = new Map<string, Found>();
  #unpackedLayerBytes = 0;

  constructor(root: string, database: ReadOnlyDatabase) {
    this.#root = root;
    this.#database = database;
    this.#records = new GcRecords(database);
    const { graph } = this.#records;
    for (const owner of new Set(graph.roots)) {
      for (const kept of graph.keptBy(owner)) this.#own(kept, ownerName(owner));
    }
    for (const kept of graph.kept) this.#own(kept, 'a lease that keeps nothing else');
  }

  usage(): DiskUsage {
    const shares = [...this.#shares]
      .map(([owners, found]) => ({ owners: owners.split('\n'), ...found }))
      .sort((a, b) => b.bytes - a.bytes || a.owners.join().localeCompare(b.owners.join()));
    return {
      shares,
      totalBytes: shares.reduce((sum, { bytes }) => sum + bytes, 0),
      unpackedLayerBytes: this.#unpackedLayerBytes,
    };
  }

  addBlobs(): void {
    const directory = join(this.#root, CONTENT_DIRECTORY, 'blobs');
    const records = Map.groupBy(this.#records.content, ({ id }) => id);
    for (const algorithm of namesIn(directory)) {
      for (const hex of namesIn(join(directory, algorithm))) {
        const bytes = this.#files.measure(join(directory, algorithm, hex));
        const digest = `${algorithm}:${hex}`;
        const rows = records.get(digest) ?? [];
        const nodes = rows.map(({ namespace }) => node('content', namespace, digest));
        this.#add(nodes, { bytes, blobs: 1, snapshots: 0 });
        if (rows.some(({ labels }) => labels.includes(UNCOMPRESSED_LABEL))) {
          this.#unpackedLayerBytes += bytes;
        }
      }
    }
  }

  addIngests(): void {
    const directory = join(this.#root, CONTENT_DIRECTORY, 'ingest');
    const rows = this.#database.all<{ namespace: string; ref: string; directory: string }>(
      'SELECT namespace, ref, directory FROM ingests',
    );
    for (const { namespace, ref, directory: name } of rows) {
      const bytes = this.#files.measure(join(directory, name));
      this.#count([`unfinished blob ${ref} in namespace ${namespace}`], { bytes });
    }
    this.#count(['deleted blobs: the daemon is removing them'], {
      bytes: this.#files.measure(join(this.#root, CONTENT_DIRECTORY, 'trash')),
    });
  }

  addSnapshots(): void {
    const byId = new Map<string, GcRecords['snapshots'][number]>(
      this.#records.snapshots.map((row) => [`${row.snapshotter}/${row.id}`, row]),
    );
    for (const plugin of namesIn(this.#root).filter((name) => name.startsWith(SNAPSHOTTER))) {
      const snapshotter = plugin.slice(SNAPSHOTTER.length);
      const directory = join(this.#root, plugin, 'snapshots');
      for (const id of namesIn(directory)) {
        const row = byId.get(`${snapshotter}/${id}`);
        const nodes =
          row === undefined ? [] : [node('snapshot', row.namespace, `${snapshotter}/${row.name}`)];
        const bytes = this.#files.measure(join(directory, id));
        this.#add(nodes, { bytes, blobs: 0, snapshots: 1 });
      }
    }
  }

  /** What is left, by the first part of its path. */
  addOthers(): void {
    for (const name of namesIn(this.#root)) {
      const bytes = this.#files.measure(join(this.#root, name));
      this.#count([name.startsWith('metadata.db') ? 'the database' : `directories: ${name}`], {
        bytes,
      });
    }
    // The directory itself; what is in it has been counted.
    this.#count(['directories: the root'], { bytes: this.#files.measure(this.#root) });
  }

  #own(kept: Node, owner: string): void {
    const owners = this.#owners.get(kept);
    if (owners === undefined) this.#owners.set(kept, [owner]);
    else if (!owners.includes(owner)) owners.push(owner);
  }

  /** Counts what records of all namespaces name. */
  #add(nodes: readonly Node[], found: Found): void {
    const owners = new Set(nodes.flatMap((each) => this.#owners.get(each) ?? []));
    if (owners.size > 0) this.#count([...owners].sort(), found);
    else if (nodes.length > 0) this.#count(['nobody: the next collection removes it'], found);
    else this.#count(['no record: the daemon removes it when it starts'], found);
  }

  #count(owners: readonly string[], { bytes, blobs = 0, snapshots = 0 }: Partial<Found>): void {
    if (bytes === undefined || (bytes === 0 && blobs === 0 && snapshots === 0)) return;
    const key = owners.join('\n');
    const share = this.#shares.get(key) ?? { bytes: 0, blobs: 0, snapshots: 0 };
    this.#shares.set(key, {
      bytes: share.bytes + bytes,
      blobs: share.blobs + blobs,
      snapshots: share.snapshots + snapshots,
    });
  }
}

/** A record as a person calls it. */
function ownerName(owner: Node): string {
  const [type = '', namespace, id] = owner.split('\0');
  const label = type === 'content' || type === 'snapshot' ? ' (label containerd.io/gc.root)' : '';
  return `${type} ${id} in namespace ${namespace}${label}`;
}

/** Owners of one share that are named; of more their number is told. */
const NAMED_OWNERS = 3;

/** The usage as lines for a person. */
export function diskUsageText({ shares, totalBytes, unpackedLayerBytes }: DiskUsage): string {
  const rows = shares.map(({ owners, bytes, blobs, snapshots }) => {
    const named = owners.slice(0, NAMED_OWNERS).join('; ');
    const more = owners.length > NAMED_OWNERS ? `; and ${owners.length - NAMED_OWNERS} more` : '';
    const parts = [count(blobs, 'blob'), count(snapshots, 'snapshot')].filter(Boolean).join(', ');
    const what = parts === '' ? '' : ` (${parts})`;
    return `${megabytes(bytes)}  ${owners.length > 1 ? 'shared: ' : ''}${named}${more}${what}`;
  });
  const lines = [...rows, `${megabytes(totalBytes)}  in all`];
  if (unpackedLayerBytes > 0) {
    lines.push(
      `${megabytes(unpackedLayerBytes)}  of it layers that are unpacked too: discard_unpacked_layers = true keeps the CRI from having both`,
    );
  }
  return lines.map((line) => `${line}\n`).join('');
}

function count(number: number, what: string): string {
  return number === 0 ? '' : `${number} ${what}${number === 1 ? '' : 's'}`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1_000_000).toFixed(1)} MB`.padStart(11);
}
