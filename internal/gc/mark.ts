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

  /** What is kept for its own sake. */
  get roots(): readonly Node[] {
    return this.#roots;
  }

  /** What is kept by itself only. */
  get kept(): readonly Node[] {
    return this.#kept;
  }

  /** All that one record keeps, and the record. */
  keptBy(root: Node): ReadonlySet<Node> {
    return this.#reach([root]);
  }

  /** All that is kept. */
  mark(): ReadonlySet<Node> {
    const marked = this.#reach(this.#roots);
    for (const kept of this.#kept) marked.add(kept);
    return marked;
  }

  #reach(roots: readonly Node[]): Set<Node> {
    const reached = new Set<Node>(roots);
    // A set may grow while it is iterated: each node is visited once.
    for (const from of reached) {
      for (const to of this.#edges.get(from) ?? []) reached.add(to);
    }
    return reached;
  }
}
