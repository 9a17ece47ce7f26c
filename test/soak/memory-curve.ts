// Resident memory of a process over a run, looked at every quarter of a second.
import { readFileSync } from 'node:fs';
import { median } from '../bench/measure.ts';

const PERIOD_MS = 250;
const FIRST_MINUTE_S = 60;
/** What one figure is the middle of. */
const WINDOW_S = 15;

export class MemoryCurve {
  readonly #samples: { atS: number; kb: number }[] = [];
  readonly #startMs = performance.now();
  readonly #earlyS: number;
  readonly #timer: NodeJS.Timeout;

  constructor(pid: number, seconds: number) {
    this.#earlyS = Math.min(FIRST_MINUTE_S, seconds / 3);
    this.#timer = setInterval(() => {
      const kb = Number(
        /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0,
      );
      this.#samples.push({ atS: (performance.now() - this.#startMs) / 1000, kb });
    }, PERIOD_MS);
  }

  /** After the first minute, or a third of a shorter run. */
  get earlyKb(): number {
    return this.#middle(this.#earlyS);
  }

  /** At the end so far. */
  get lateKb(): number {
    return this.#middle((this.#samples.at(-1)?.atS ?? 0) - WINDOW_S);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #middle(fromS: number): number {
    const inside = this.#samples.filter(({ atS }) => atS >= fromS && atS <= fromS + WINDOW_S);
    return median(inside.map(({ kb }) => kb));
  }
}
