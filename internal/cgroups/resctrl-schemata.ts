/** Lines of resctrl's `schemata` files: `L3:0=ff;1=f0`, `MB:0=50;1=100` (kernel Documentation/filesystems/resctrl.rst). */
import type { IntelRdt } from '../oci/index.ts';

/** One line that is to be written, and the property of config.json that wants it. */
export interface SchemaLine {
  /** What is allocated: `L3`, `L3CODE`, `L2`, `MB`, … */
  readonly resource: string;
  readonly text: string;
  readonly property: 'l3CacheSchema' | 'memBwSchema' | 'schemata';
}

const BANDWIDTH_RESOURCES: readonly string[] = ['MB', 'SMBA'];

/**
 * What is written for these properties (runtime-spec config-linux.md#intelrdt): lines of `l3CacheSchema` that are of
 * `memBwSchema`'s kind give way to that, and `schemata` overwrites either. A resource has one line, as the kernel wants it
 * in one write.
 */
export function schemaLines(rdt: IntelRdt): SchemaLine[] {
  const { l3CacheSchema = '', memBwSchema = '', schemata = [] } = rdt;
  const lines = new Map<string, SchemaLine>();
  const add = (property: SchemaLine['property'], value: string): void => {
    for (const each of value.split('\n')) {
      const text = each.trim();
      if (text === '') continue;
      const resource = resourceOf(text);
      lines.set(resource, { resource, text, property });
    }
  };
  add('l3CacheSchema', l3CacheSchema);
  add('memBwSchema', memBwSchema);
  for (const each of schemata) add('schemata', each);
  return [...lines.values()];
}

function resourceOf(line: string): string {
  return line.slice(0, Math.max(0, line.indexOf(':'))).trim();
}

/** The line of a resource in a `schemata` file, undefined if there is none. */
export function lineOf(schemata: string, resource: string): string | undefined {
  return schemaTexts(schemata).find((line) => resourceOf(line) === resource);
}

/** The lines of a `schemata` file; the kernel aligns their names with spaces. */
export function schemaTexts(schemata: string): string[] {
  return schemata
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/**
 * Whether a group's `schemata` has what a line wants. The texts may differ: the kernel leaves out zeros in front, orders by
 * domain, and rounds bandwidths up to the next multiple of `granularity` (in its own unit, per cent or MB/s).
 */
export function isInForce(schemata: string, wanted: SchemaLine, granularity: number): boolean {
  const current = domainsOf(lineOf(schemata, wanted.resource) ?? '');
  const isBandwidth = BANDWIDTH_RESOURCES.includes(wanted.resource);
  for (const [domain, value] of domainsOf(wanted.text)) {
    const have = current.get(domain);
    if (have === undefined) return false;
    if (have === value) continue;
    if (!isBandwidth) {
      if (Number.parseInt(have, 16) !== Number.parseInt(value, 16)) return false;
    } else if (Math.ceil(Number(value) / granularity) * granularity !== Number(have)) return false;
  }
  return true;
}

function domainsOf(line: string): Map<string, string> {
  const list = line.slice(line.indexOf(':') + 1);
  return new Map(
    list.split(';').flatMap((each) => {
      const [domain = '', value] = each.split('=').map((part) => part.trim());
      return value === undefined ? [] : [[domain.replace(/^0+(?=\d)/, ''), value] as const];
    }),
  );
}
