/** One property of a unit as D-Bus carries it: the name, its type as a D-Bus signature, its value. */
export interface UnitProperty {
  readonly name: string;
  readonly type: string;
  readonly value: unknown;
}

/** How systemd writes that there is no limit (CGROUP_LIMIT_MAX, USEC_INFINITY). */
export const INFINITY = 18446744073709551615n;

/** A text. */
export function text(name: string, value: string): UnitProperty {
  return { name, type: 's', value };
}

/** A switch. */
export function flag(name: string, value: boolean): UnitProperty {
  return { name, type: 'b', value };
}

/** An unsigned number of 64 bits; -1 is no limit. */
export function count(name: string, value: bigint): UnitProperty {
  return { name, type: 't', value: value < 0n ? INFINITY : value };
}
