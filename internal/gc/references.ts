/**
 * What refers to what, as the garbage collector sees it: labels `containerd.io/gc.*` on records
 * (containerd docs/garbage-collection.md).
 */
import type { Labels } from '../metadata/scope.ts';

/** What the collector can keep or remove. Containers are only kept. */
export type NodeType = 'content' | 'snapshot' | 'image' | 'container' | 'ingest' | 'lease';

/** A record: type, namespace and id in one string. A snapshot's id is `SNAPSHOTTER/NAME`. */
export type Node = `${NodeType}\0${string}\0${string}`;

export function node(type: NodeType, namespace: string, id: string): Node {
  return `${type}\0${namespace}\0${id}`;
}

const ROOT = 'containerd.io/gc.root';
const EXPIRE = 'containerd.io/gc.expire';
const FLAT = 'containerd.io/gc.flat';
const REF = 'containerd.io/gc.ref.';
const BACK_REF = 'containerd.io/gc.bref.';

/** What the labels of a record say. */
export interface GcLabels {
  readonly isRoot: boolean;
  /** A lease that keeps what it names, and not what that refers to. */
  readonly isFlat: boolean;
  /** Milliseconds since the epoch; a time that cannot be read is no expiry. */
  readonly expiresAtMs: number | undefined;
  /** What this record keeps. */
  readonly references: readonly Node[];
  /** What keeps this record. */
  readonly backReferences: readonly Node[];
}

const NONE: GcLabels = {
  isRoot: false,
  isFlat: false,
  expiresAtMs: undefined,
  references: [],
  backReferences: [],
};

/** Reads the collector's labels of a record in `namespace` from their database column. */
export function gcLabelsOf(namespace: string, column: string): GcLabels {
  if (!column.includes('containerd.io/gc.')) return NONE; // most records: nothing to parse
  return readGcLabels(namespace, new Map(Object.entries(JSON.parse(column))));
}

export function readGcLabels(namespace: string, labels: Labels): GcLabels {
  const references: Node[] = [];
  const backReferences: Node[] = [];
  for (const [key, value] of labels) {
    if (key.startsWith(REF)) push(references, namespace, key.slice(REF.length), value);
    else if (key.startsWith(BACK_REF)) {
      push(backReferences, namespace, key.slice(BACK_REF.length), value);
    }
  }
  const expire = Date.parse(labels.get(EXPIRE) ?? '');
  return {
    isRoot: labels.has(ROOT),
    isFlat: labels.has(FLAT),
    expiresAtMs: Number.isNaN(expire) ? undefined : expire,
    references,
    backReferences,
  };
}

/** `what` is `content`, `image`, `container` or `snapshot.NAME`, with any suffix after `.` or `/`. */
function push(into: Node[], namespace: string, what: string, value: string): void {
  const [type = ''] = what.split(/[./]/, 1);
  switch (type) {
    case 'content':
    case 'image':
    case 'container':
      into.push(node(type, namespace, value));
      return;
    case 'snapshot': {
      const snapshotter = what.slice('snapshot.'.length).split('/', 1)[0];
      if (snapshotter) into.push(node('snapshot', namespace, `${snapshotter}/${value}`));
      return;
    }
    default: // a kind that this version does not know keeps nothing
  }
}
