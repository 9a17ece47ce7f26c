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

/** One spelling of a platform: `x86_64` is amd64, arm64 is v8 and needs not say it, arm is v7. */
export function normalizePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase();
  const given = platform.architecture.toLowerCase();
  const [architecture, implied] = ARCHITECTURES.get(given) ?? [given, ''];
  let variant = (platform.variant || implied).toLowerCase();
  if (/^[0-9]/.test(variant)) variant = `v${variant}`;
  if (architecture === 'arm64' && variant === 'v8') variant = '';
  if (architecture === 'arm' && variant === '') variant = 'v7';
  if (architecture === 'amd64' && variant === 'v1') variant = '';
  return { os, architecture, variant };
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
