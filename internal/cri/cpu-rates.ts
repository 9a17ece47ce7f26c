/** How much of a core something uses now, from what it has used in all at two times. */
interface Sample {
  readonly atNs: bigint;
  readonly usageNs: bigint;
  readonly nanoCores: bigint | undefined;
}

/** A shorter time says nothing: the scheduler counts in ticks of some milliseconds. */
const MIN_WINDOW_NS = 500_000_000n;
const NS_PER_SECOND = 1_000_000_000n;

/** The rates of containers and pods, each over the time since it was asked for last. */
export class CpuRates {
  readonly #samples = new Map<string, Sample>();

  /**
   * Billionths of a core that `id` has used since the last call, or since `startedNs` when this is the first. Calls in
   * quick succession get the same answer; undefined when there is none yet.
   */
  rate(id: string, usageNs: bigint, atNs: bigint, startedNs: bigint): bigint | undefined {
    const last = this.#samples.get(id) ?? { atNs: startedNs, usageNs: 0n, nanoCores: undefined };
    const window = atNs - last.atNs;
    if (window < MIN_WINDOW_NS) return last.nanoCores;
    // A counter that falls is that of another process under the same id.
    const used = usageNs >= last.usageNs ? usageNs - last.usageNs : usageNs;
    const nanoCores = (used * NS_PER_SECOND) / window;
    this.#samples.set(id, { atNs, usageNs, nanoCores });
    return nanoCores;
  }

  /** Forgets all but these. */
  keepOnly(ids: ReadonlySet<string>): void {
    for (const id of this.#samples.keys()) if (!ids.has(id)) this.#samples.delete(id);
  }
}
