/** What resctrl tells of a group: its limits, what the machine could limit, and the counters of each cache. */
import type { ResctrlHost, ResctrlPaths } from './resctrl.ts';
import { lineOf, schemaTexts } from './resctrl-schemata.ts';

/** Absent is what the machine does not have. */
export interface ResctrlStatistics {
  /** Cache allocation (CAT). */
  readonly l3?: {
    readonly cbmMask: string;
    readonly minCbmBits: bigint;
    readonly numClosids: bigint;
    readonly rootSchema: string;
    readonly schema: string;
  };
  /** Memory bandwidth allocation (MBA): in per cent, or MB/s with the mount option mba_MBps. */
  readonly mb?: {
    readonly granularity: bigint;
    readonly delayLinear: bigint;
    readonly minBandwidth: bigint;
    readonly numClosids: bigint;
    readonly rootSchema: string;
    readonly schema: string;
  };
  /** All lines of the group. */
  readonly schemata: readonly string[];
  /** By L3 cache, in the order of their numbers; a counter that the kernel calls unavailable is absent. */
  readonly caches: readonly {
    readonly llcOccupancyBytes?: bigint;
    readonly mbmTotalBytes?: bigint;
    readonly mbmLocalBytes?: bigint;
  }[];
  /** Names of the counters that there are: `llc_occupancy`, `mbm_total_bytes`, `mbm_local_bytes`. */
  readonly counters: readonly string[];
}

/** Throws what reading throws: NotFound if the group is gone. */
export function readResctrlStatistics(
  { root, files }: ResctrlHost,
  { group, monitoring = group }: ResctrlPaths,
): ResctrlStatistics {
  const rootSchemata = files.read(`${root}/schemata`);
  const schemata = files.read(`${group}/schemata`);
  const text = (name: string) => files.read(`${root}/info/${name}`).trim();
  const number = (name: string) => BigInt(text(name));
  const schemas = (resource: string) => ({
    rootSchema: lineOf(rootSchemata, resource) ?? '',
    schema: lineOf(schemata, resource) ?? '',
  });
  const has = (resource: string) => files.exists(`${root}/info/${resource}`);
  const counters = (files.tryRead(`${root}/info/L3_MON/mon_features`) ?? '')
    .split('\n')
    .filter(Boolean);
  const directory = `${monitoring}/mon_data`;
  const caches = files
    .subdirectories(directory)
    .filter((name) => name.startsWith('mon_L3_'))
    .sort();
  return {
    ...(has('L3')
      ? {
          l3: {
            cbmMask: text('L3/cbm_mask'),
            minCbmBits: number('L3/min_cbm_bits'),
            numClosids: number('L3/num_closids'),
            ...schemas('L3'),
          },
        }
      : {}),
    ...(has('MB')
      ? {
          mb: {
            granularity: number('MB/bandwidth_gran'),
            delayLinear: number('MB/delay_linear'),
            minBandwidth: number('MB/min_bandwidth'),
            numClosids: number('MB/num_closids'),
            ...schemas('MB'),
          },
        }
      : {}),
    schemata: schemaTexts(schemata),
    caches: caches.map((name) => ({
      ...counter('llcOccupancyBytes', files.tryRead(`${directory}/${name}/llc_occupancy`)),
      ...counter('mbmTotalBytes', files.tryRead(`${directory}/${name}/mbm_total_bytes`)),
      ...counter('mbmLocalBytes', files.tryRead(`${directory}/${name}/mbm_local_bytes`)),
    })),
    counters,
  };
}

/** The kernel says "Unavailable", "Error" or "Unassigned" where hardware has no count right now. */
function counter<Name extends string>(
  name: Name,
  text: string | undefined,
): { [K in Name]?: bigint } {
  const isCount = text !== undefined && /^\d+$/.test(text.trim());
  return (isCount ? { [name]: BigInt(text.trim()) } : {}) as { [K in Name]?: bigint };
}
