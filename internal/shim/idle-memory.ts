/**
 * Gives memory back when a shim becomes idle: it is there for as long as its pod, busy for the first
 * second of it. Creating a container leaves V8 and malloc with some 4 MB that they keep for more of
 * the same (measured November 2026: 16.0 MB private before, 12.2 MB after).
 *
 * And when much has been done by one that never is idle: V8 collects its old generation only when
 * that has grown by 8 MB, and what it then frees lies between what malloc has given out meanwhile
 * (539 execs in 207 containers by 4 clients, in-process: 17.7 MB of malloc's heap, 3.5 MB in use).
 */
import { releaseFreeMemory } from '../linux/index.ts';

/** Quiet time before memory is given back. */
const QUIET_MS = 3_000;
/** Shortest time between two collections: an exec probe every ten seconds must not cost one each. */
const PAUSE_MS = 10 * 60_000;
/** Touches after which memory is given back in any case: those of some 50 execs. */
const BUSY_TOUCHES = 250;

export interface IdleMemoryOptions {
  readonly quietMs?: number;
  readonly pauseMs?: number;
  readonly busyTouches?: number;
  /** Whether it is idle: then everything may go that can be made again. */
  readonly release?: (isIdle: boolean) => unknown;
}

export class IdleMemory implements Disposable {
  readonly #quietMs: number;
  readonly #pauseMs: number;
  readonly #busyTouches: number;
  readonly #release: (isIdle: boolean) => unknown;
  #touches = 0;
  #timer: NodeJS.Timeout | undefined;
  #notBeforeMs = 0;

  constructor(options: IdleMemoryOptions = {}) {
    this.#quietMs = options.quietMs ?? QUIET_MS;
    this.#pauseMs = options.pauseMs ?? PAUSE_MS;
    this.#busyTouches = options.busyTouches ?? BUSY_TOUCHES;
    this.#release = options.release ?? collect;
  }

  /** Something has been done: memory is given back once nothing has been for a while, or after many more. */
  touch(): void {
    clearTimeout(this.#timer);
    if (++this.#touches >= this.#busyTouches) {
      this.#touches = 0;
      this.#release(false);
    }
    const delayMs = Math.max(this.#quietMs, this.#notBeforeMs - performance.now());
    this.#timer = setTimeout(() => {
      this.#notBeforeMs = performance.now() + this.#pauseMs;
      this.#touches = 0;
      this.#release(true);
    }, delayMs).unref();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

interface Collection {
  readonly type: 'major';
  readonly execution: 'sync';
  readonly flavor: 'regular' | 'last-resort';
}
type Collector = (options: Collection) => void;

async function collect(isIdle: boolean): Promise<void> {
  const { setFlagsFromString } = await import('node:v8');
  const { runInNewContext } = await import('node:vm');
  // The switch would make V8 refuse the compiled code of the program at its start; late it is free.
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as Collector;
  setFlagsFromString('--no-expose-gc');
  gc({ type: 'major', execution: 'sync', flavor: isIdle ? 'last-resort' : 'regular' });
  releaseFreeMemory();
}
