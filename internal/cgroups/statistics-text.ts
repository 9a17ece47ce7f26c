import type { PsiData, PsiStats, RdmaEntry } from './statistics.ts';

/** The formats in which cgroup files tell numbers. A number that is not there counts as 0. */

const UINT64_MAX = 18446744073709551615n;

/** A decimal number; `max` is 2^64-1. */
export function parseCount(text: string | undefined): bigint {
  if (text === undefined) return 0n;
  const word = text.trim();
  if (word === 'max') return UINT64_MAX;
  return /^-?[0-9]+$/.test(word) ? BigInt(word) : 0n;
}

/** Lines `name number`, by name. */
export function parseFlatKeyed(text: string | undefined): Record<string, bigint> {
  const counts: Record<string, bigint> = Object.create(null);
  for (const line of text?.split('\n') ?? []) {
    const space = line.indexOf(' ');
    if (space > 0) counts[line.slice(0, space)] = parseCount(line.slice(space + 1));
  }
  return counts;
}

/** Lines `8:0 rbytes=1 wbytes=2`, pairs by name for each first word. */
export function parseNestedKeyed(text: string | undefined): [string, Record<string, string>][] {
  const entries: [string, Record<string, string>][] = [];
  for (const line of text?.split('\n') ?? []) {
    const [key, ...pairs] = line.split(' ');
    if (key === undefined || key === '') continue;
    const values: Record<string, string> = Object.create(null);
    for (const pair of pairs) {
      const equals = pair.indexOf('=');
      if (equals > 0) values[pair.slice(0, equals)] = pair.slice(equals + 1);
    }
    entries.push([key, values]);
  }
  return entries;
}

/** `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` and `full …`; undefined without a text. */
export function parsePressure(text: string | undefined): PsiStats | undefined {
  if (text === undefined) return undefined;
  const lines = new Map(parseNestedKeyed(text));
  return { some: pressure(lines.get('some')), full: pressure(lines.get('full')) };
}

function pressure(values: Record<string, string> | undefined): PsiData {
  const average = (name: string): number => Number(values?.[name] ?? 0);
  return {
    avg10: average('avg10'),
    avg60: average('avg60'),
    avg300: average('avg300'),
    total: parseCount(values?.['total']),
  };
}

/** `mlx4_0 hca_handle=2 hca_object=max` */
export function parseRdma(text: string | undefined): RdmaEntry[] {
  const count = (value: string | undefined): number =>
    value === 'max' ? 4294967295 : Number(value ?? 0);
  return parseNestedKeyed(text).map(([device, values]) => ({
    device,
    hcaHandles: count(values['hca_handle']),
    hcaObjects: count(values['hca_object']),
  }));
}

/** Sizes of huge pages of this machine as cgroup files name them: `2MB`, `1GB`. */
export function hugepageSizeName(directory: string): string | undefined {
  const kilobytes = Number(/^hugepages-([0-9]+)kB$/.exec(directory)?.[1] ?? Number.NaN);
  if (Number.isNaN(kilobytes)) return undefined;
  if (kilobytes % 1048576 === 0) return `${kilobytes / 1048576}GB`;
  if (kilobytes % 1024 === 0) return `${kilobytes / 1024}MB`;
  return `${kilobytes}KB`;
}
