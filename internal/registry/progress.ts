/**
 * Progress of a transfer in the events that containerd's clients draw: a line for each blob, by its
 * ref key, below the line of what refers to it (containerd core/transfer, cmd/ctr images pull).
 */

import type { Descriptor } from '../oci/index.ts';
import { refKey } from '../oci/index.ts';

export interface ProgressEvent {
  readonly event: string;
  /** Line that it is about; '' for the whole transfer. */
  readonly name: string;
  readonly parents: readonly string[];
  readonly progressBytes: number;
  readonly totalBytes: number;
  readonly descriptor: Descriptor | undefined;
}

export type ProgressSink = (event: ProgressEvent) => void;

/** Least time between two events of one blob that is on its way. */
const INTERVAL_MS = 250;

export class Progress {
  readonly #sink: ProgressSink;
  readonly #lines = new Map<string, { parents: string[]; lastMs: number }>();

  constructor(sink: ProgressSink) {
    this.#sink = sink;
  }

  /** What the transfer as a whole does: `Resolving from …`. */
  say(event: string): void {
    this.#sink({ ...EMPTY, event });
  }

  /** About an image by its name. */
  image(event: string, name: string, descriptor: Descriptor): void {
    this.#sink({ ...EMPTY, event, name, descriptor });
  }

  /** A blob is known of; `parent` is what refers to it, or the image's name. */
  waiting(blob: Descriptor, parent: Descriptor | string): void {
    const name = nameOf(blob);
    const above = typeof parent === 'string' ? parent : nameOf(parent);
    const line = this.#lines.get(name);
    if (line !== undefined) {
      if (!line.parents.includes(above)) line.parents.push(above);
      return;
    }
    this.#lines.set(name, { parents: [above], lastMs: 0 });
    this.#blob('waiting', blob, 0);
  }

  /** Bytes of a blob have been moved; `event` is `downloading` or `uploading`. */
  moved(event: string, blob: Descriptor, bytes: number): void {
    const line = this.#lines.get(nameOf(blob));
    const now = performance.now();
    if (line === undefined || now - line.lastMs < INTERVAL_MS) return;
    line.lastMs = now;
    this.#blob(event, blob, bytes);
  }

  /** A blob is done with: `complete`, `already exists`, `extracting`, `extracted`. */
  done(event: string, blob: Descriptor): void {
    this.#blob(event, blob, blob.sizeBytes);
  }

  #blob(event: string, descriptor: Descriptor, progressBytes: number): void {
    const name = nameOf(descriptor);
    const parents = this.#lines.get(name)?.parents ?? [];
    const totalBytes = descriptor.sizeBytes;
    this.#sink({ event, name, parents: [...parents], progressBytes, totalBytes, descriptor });
  }
}

const EMPTY: ProgressEvent = {
  event: '',
  name: '',
  parents: [],
  progressBytes: 0,
  totalBytes: 0,
  descriptor: undefined,
};

function nameOf({ mediaType, digest }: Descriptor): string {
  return refKey(mediaType, digest);
}
