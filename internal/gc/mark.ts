import type { Node } from './references.ts';

/** Records and what keeps them. */
export class ReferenceGraph {
  readonly #edges = new Map<Node, Node[]>();
  readonly #roots: Node[] = [];
  readonly #kept: Node[] = [];

  /** `from`, if it is kept, keeps `to`. */
  addReference(from: Node, to: Node): void {
    const targets = this.#edges.get(from);
    if (targets === undefined) this.#edges.set(from, [to]);
    else targets.push(to);
  }

  /** Kept, with all that it refers to. */
  addRoot(root: Node): void {
    this.#roots.push(root);
  }

  /** Kept by itself only. */
  addKept(kept: Node): void {
    this.#kept.push(kept);
  }

  /** All that is kept. */
  mark(): ReadonlySet<Node> {
    const marked = new Set<Node>(this.#roots);
    // A set may grow while it is iterated: each node is visited once.
    for (const from of marked) {
      for (const to of this.#edges.get(from) ?? []) marked.add(to);
    }
    for (const kept of this.#kept) marked.add(kept);
    return marked;
  }
}
