import type { Parameter, Row } from '../metadata/database.ts';
import { ReferenceGraph } from './mark.ts';
import { type GcLabels, gcLabelsOf, type Node, node } from './references.ts';

/** What records are read from: the daemon's database, or that of another process. */
export interface RecordSource {
  all<T = Row>(sql: string, ...parameters: Parameter[]): T[];
}

export interface LabelledRow {
  readonly namespace: string;
  readonly id: string;
  readonly labels: string;
}

interface SnapshotRow {
  readonly namespace: string;
  readonly snapshotter: string;
  readonly name: string;
  readonly id: bigint;
  readonly labels: string;
  readonly parent: string | null;
}

/** All records that matter, and the graph of what keeps what. */
export class GcRecords {
  readonly graph = new ReferenceGraph();
  readonly content: readonly LabelledRow[];
  readonly snapshots: readonly SnapshotRow[];
  readonly ingests: readonly {
    readonly namespace: string;
    readonly id: string;
    readonly expected: string;
    readonly expires_at: bigint;
  }[];
  readonly leases: readonly LabelledRow[];
  readonly images: readonly (LabelledRow & { readonly digest: string })[];
  /** When the first of what is kept expires, in milliseconds since the epoch. */
  nextExpiryMs = Number.POSITIVE_INFINITY;
  readonly #nowMs = Date.now();

  constructor(database: RecordSource) {
    this.content = database.all('SELECT namespace, digest AS id, labels FROM content');
    this.snapshots = database.all(
      `SELECT s.id, s.namespace, s.snapshotter, s.name, s.labels, p.name AS parent
       FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent_id ORDER BY s.id DESC`,
    );
    this.ingests = database.all('SELECT namespace, ref AS id, expected, expires_at FROM ingests');
    this.leases = database.all('SELECT namespace, id, labels FROM leases');
    this.images = database.all('SELECT namespace, name AS id, labels, digest FROM images');
    this.#addContent();
    this.#addSnapshots();
    this.#addIngests();
    this.#addImages();
    this.#addContainers(database);
    this.#addLeases(database);
  }

  #addContent(): void {
    for (const { namespace, id, labels } of this.content) {
      this.#addLabels(node('content', namespace, id), gcLabelsOf(namespace, labels));
    }
  }

  #addSnapshots(): void {
    for (const { namespace, snapshotter, name, parent, labels } of this.snapshots) {
      const self = node('snapshot', namespace, `${snapshotter}/${name}`);
      this.#addLabels(self, gcLabelsOf(namespace, labels));
      if (parent !== null) {
        this.graph.addReference(self, node('snapshot', namespace, `${snapshotter}/${parent}`));
      }
    }
  }

  #addIngests(): void {
    for (const { namespace, id, expected, expires_at: expiresAt } of this.ingests) {
      const self = node('ingest', namespace, id);
      if (expected !== '') this.graph.addReference(self, node('content', namespace, expected));
      if (expiresAt !== 0n && !this.#isExpired(Number(expiresAt / 1_000_000n))) {
        this.graph.addRoot(self);
      }
    }
  }

  #addImages(): void {
    for (const { namespace, id, labels, digest } of this.images) {
      const self = node('image', namespace, id);
      const gc = gcLabelsOf(namespace, labels);
      this.#addLabels(self, gc);
      this.graph.addReference(self, node('content', namespace, digest));
      if (!this.#isExpired(gc.expiresAtMs)) this.graph.addRoot(self);
    }
  }

  #addContainers(database: RecordSource): void {
    const rows = database.all<LabelledRow & { snapshotter: string; key: string }>(
      'SELECT namespace, id, labels, snapshotter, snapshot_key AS key FROM containers',
    );
    for (const { namespace, id, labels, snapshotter, key } of rows) {
      const self = node('container', namespace, id);
      this.#addLabels(self, gcLabelsOf(namespace, labels));
      this.graph.addRoot(self);
      if (key !== '') {
        this.graph.addReference(self, node('snapshot', namespace, `${snapshotter}/${key}`));
      }
    }
  }

  #addLeases(database: RecordSource): void {
    const resources = Map.groupBy(
      database.all<{ namespace: string; lease: string; type: string; id: string }>(
        'SELECT namespace, lease, type, id FROM lease_resources',
      ),
      ({ namespace, lease }) => node('lease', namespace, lease),
    );
    for (const { namespace, id, labels } of this.leases) {
      const self = node('lease', namespace, id);
      const gc = gcLabelsOf(namespace, labels);
      if (this.#isExpired(gc.expiresAtMs)) continue;
      this.graph.addRoot(self);
      for (const resource of resources.get(self) ?? []) {
        const target = nodeOfResource(namespace, resource.type, resource.id);
        if (gc.isFlat) this.graph.addKept(target);
        else this.graph.addReference(self, target);
      }
    }
  }

  #addLabels(self: Node, labels: GcLabels): void {
    if (labels.isRoot) this.graph.addRoot(self);
    for (const target of labels.references) this.graph.addReference(self, target);
    for (const source of labels.backReferences) this.graph.addReference(source, self);
  }

  #isExpired(expiresAtMs: number | undefined): boolean {
    if (expiresAtMs === undefined) return false;
    if (expiresAtMs <= this.#nowMs) return true;
    this.nextExpiryMs = Math.min(this.nextExpiryMs, expiresAtMs);
    return false;
  }
}

/** A lease's resource: `content`, `ingests`, `images` or `snapshots/NAME`. */
function nodeOfResource(namespace: string, type: string, id: string): Node {
  switch (type) {
    case 'content':
      return node('content', namespace, id);
    case 'ingests':
      return node('ingest', namespace, id);
    case 'images':
      return node('image', namespace, id);
    default:
      return node('snapshot', namespace, `${type.slice('snapshots/'.length)}/${id}`);
  }
}
