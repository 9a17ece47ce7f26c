import { TsError } from '../errors/index.ts';
import { formatPlatform, hostPlatform, normalizePlatform, type Platform } from '../oci/index.ts';

export { formatPlatform, hostPlatform, normalizePlatform, type Platform };

/**
 * How well an image for `candidate` runs where `wanted` is asked for: 0 for the same, more for what
 * the processor runs as well (an older arm, 32-bit arm on arm64), undefined when not at all.
 */
export function platformDistance(wanted: Platform, candidate: Platform): number | undefined {
  const want = normalizePlatform(wanted);
  const have = normalizePlatform(candidate);
  if (want.os !== have.os) return undefined;
  const isArm = want.architecture === 'arm' || want.architecture === 'arm64';
  if (!isArm) return distanceOfVariants(want, have);
  const ladder = ['arm64', 'arm/v8', 'arm/v7', 'arm/v6', 'arm/v5'];
  const rung = (p: Platform): number =>
    ladder.indexOf(p.architecture === 'arm64' ? 'arm64' : `arm/${p.variant}`);
  const [from, to] = [rung(want), rung(have)];
  return from === -1 || to < from ? undefined : to - from;
}

function distanceOfVariants(want: Platform, have: Platform): number | undefined {
  if (want.architecture !== have.architecture) return undefined;
  const level = (p: Platform): number => Number(/^v([1-9])$/.exec(p.variant)?.[1] ?? 1);
  if (want.architecture !== 'amd64') return want.variant === have.variant ? 0 : undefined;
  return level(have) > level(want) ? undefined : level(want) - level(have); // x86-64-v2, -v3, …
}

/**
 * The best of `candidates` for any of the platforms `wanted`, in the order of wishes; undefined when
 * none runs. Of equals the first is taken.
 */
export function bestPlatform<T>(
  wanted: readonly Platform[],
  candidates: readonly T[],
  platformOf: (candidate: T) => Platform | undefined,
): T | undefined {
  for (const wish of wanted) {
    let best: { candidate: T; distance: number } | undefined;
    for (const candidate of candidates) {
      const platform = platformOf(candidate);
      const distance = platform === undefined ? undefined : platformDistance(wish, platform);
      if (distance === undefined || (best !== undefined && best.distance <= distance)) continue;
      best = { candidate, distance };
    }
    if (best !== undefined) return best.candidate;
  }
  return undefined;
}

/** A platform from JSON of an index or a config; undefined when it names none. */
export function parsePlatform(value: unknown): Platform | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { os, architecture, variant = '' } = value as Record<string, unknown>;
  if (typeof os !== 'string' || typeof architecture !== 'string' || os === '') return undefined;
  if (typeof variant !== 'string') {
    throw new TsError('InvalidArgument', `platform ${os}/${architecture}: variant is not a string`);
  }
  return { os, architecture, variant };
}
