import type { Labels, Scope, TimeNs } from '../metadata/scope.ts';
import type { Descriptor } from '../oci/index.ts';

export type { Descriptor } from '../oci/index.ts';

export interface Image {
  readonly name: string;
  readonly labels: Labels;
  readonly target: Descriptor;
  readonly createdAt: TimeNs;
  readonly updatedAt: TimeNs;
}

export type NewImage = Omit<Image, 'createdAt' | 'updatedAt'>;

export interface ImageStore {
  get(scope: Scope, name: string): Image;
  list(scope: Scope, filters?: readonly string[]): Image[];
  /** `at` replaces the present as its time (reproducible builds). */
  create(scope: Scope, image: NewImage, at?: TimeNs): Image;
  /** Replaces the fields named (`labels`, `labels.KEY`, `target`, `annotations`,
   * `annotations.KEY`); all when none is named. */
  update(scope: Scope, image: NewImage, fieldPaths: readonly string[], at?: TimeNs): Image;
  /** With `synchronous` the collector has run when the promise resolves. `target`, if given, must
   * be the digest that the name points to. */
  delete(
    scope: Scope,
    name: string,
    options: { synchronous: boolean; target?: string },
  ): Promise<void>;
}
