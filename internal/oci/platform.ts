/** What an image runs on, in Go's words (image-spec image-index.md#platform-object). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** `v7`, `v8`; '' when there is none. */
  readonly variant: string;
}

const ARCHITECTURES: ReadonlyMap<string, readonly [architecture: string, variant: string]> =
  new Map([
    ['x86_64', ['amd64', '']],
    ['x86-64', ['amd64', '']],
    ['i386', ['386', '']],
    ['aarch64', ['arm64', '']],
    ['armhf', ['arm', 'v7']],
    ['armel', ['arm', 'v6']],
  ]);

const ARM64_VARIANTS: ReadonlyMap<string, string> = new Map([
  ['v8', ''],
  ['v8.0', ''],
  ['v9.0', 'v9'],
]);

/** One spelling of a platform: `x86_64` is amd64, arm64 is v8 and needs not say it, arm is v7. */
export function normalizePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase();
  const given = platform.architecture.toLowerCase();
  const [architecture, implied] = ARCHITECTURES.get(given) ?? [given, ''];
  let variant = (platform.variant || implied).toLowerCase();
  if (/^[0-9]/.test(variant)) variant = `v${variant}`;
  if (architecture === 'arm64') variant = ARM64_VARIANTS.get(variant) ?? variant;
  if (architecture === 'arm' && variant === '') variant = 'v7';
  if (architecture === 'amd64' && variant === 'v1') variant = '';
  return { os, architecture, variant };
}

/**
 * The platforms whose images run where `platform` is asked for, the best first (containerd/platforms compare.go, Only):
 * older levels of the processor, and its 32-bit programs.
 */
export function runnablePlatforms(platform: Platform): Platform[] {
  const first = normalizePlatform(platform);
  const { os, architecture, variant } = first;
  const of = (name: string, variants: readonly string[]): Platform[] =>
    variants.map((each) => normalizePlatform({ os, architecture: name, variant: each }));
  switch (architecture) {
    case 'amd64':
      return [first, ...of('amd64', levelsBelow(variant, 1)), ...of('386', [''])];
    case 'arm':
      return [first, ...of('arm', levelsBelow(variant, 5))];
    case 'arm64': {
      const arm = runnablePlatforms({
        os,
        architecture: 'arm',
        variant: variant.includes('.') ? 'v8' : variant || 'v8',
      });
      return [first, ...of('arm64', arm64Below(variant)), ...arm];
    }
    default:
      return [first];
  }
}

/** `v3` down to `lowest`: v2, v1. */
function levelsBelow(variant: string, lowest: number): string[] {
  const level = Number(/^v([0-9])$/.exec(variant)?.[1] ?? 0);
  return Array.from({ length: Math.max(0, level - lowest) }, (_, index) => `v${level - 1 - index}`);
}

/** Armv8.x runs what is for those below it, Armv9.x also what is for Armv8.(x + 5), from which it came. */
function arm64Below(variant: string): string[] {
  const [, major, digit = '0'] = /^v([89])(?:\.([0-9]))?$/.exec(variant || 'v8') ?? [];
  const minor = Number(digit);
  const below = (generation: number, count: number): string[] =>
    Array.from({ length: count }, (_, index) => `v${generation}.${count - 1 - index}`);
  if (major === '9') return [...below(9, minor), ...below(8, minor + 6)];
  return major === '8' ? below(8, minor) : [];
}

/**
 * How well an image for `candidate` runs where `wanted` is asked for: 0 for the same, more for what the processor runs as
 * well, undefined when not at all.
 */
export function platformDistance(wanted: Platform, candidate: Platform): number | undefined {
  const have = formatPlatform(normalizePlatform(candidate));
  const at = runnablePlatforms(wanted).findIndex((each) => formatPlatform(each) === have);
  return at === -1 ? undefined : at;
}

/** Whether two platforms are one, however they are spelled. */
export function isSamePlatform(one: Platform, other: Platform): boolean {
  return formatPlatform(normalizePlatform(one)) === formatPlatform(normalizePlatform(other));
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

/** The platform of this machine. */
export function hostPlatform(): Platform {
  const architecture = { x64: 'amd64', ia32: '386' }[process.arch as string] ?? process.arch;
  return normalizePlatform({ os: 'linux', architecture, variant: '' });
}

/** `linux/arm/v7`. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter((part) => part !== '').join('/');
}
