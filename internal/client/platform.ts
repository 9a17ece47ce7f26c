import type { Platform as PlatformMessage } from '../api/generated/containerd.types.ts';
import { TsError } from '../errors/index.ts';

/** What an image runs on, in Go's words. */
export type Platform = Pick<PlatformMessage, 'os' | 'architecture' | 'variant'>;

const ARCHITECTURES: ReadonlyMap<string, readonly [architecture: string, variant: string]> =
  new Map([
    ['x86_64', ['amd64', '']],
    ['x86-64', ['amd64', '']],
    ['i386', ['386', '']],
    ['aarch64', ['arm64', '']],
    ['armhf', ['arm', 'v7']],
    ['armel', ['arm', 'v6']],
  ]);

/** The platform of this machine, and so of the daemon. */
export function hostPlatform(): Platform {
  const names: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };
  return { os: 'linux', architecture: names[process.arch] ?? process.arch, variant: '' };
}

/** `linux/arm/v7`, `arm64` or `linux`. Throws InvalidArgument. */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split('/');
  if (parts.length > 3 || parts.some((part) => !/^[a-z0-9_.-]+$/.test(part))) {
    throw new TsError('InvalidArgument', `platform ${JSON.stringify(text)}: not OS/ARCHITECTURE`, {
      advice: 'write it as linux/amd64 or linux/arm/v7',
    });
  }
  const host = hostPlatform();
  const [first = '', second, variant = ''] = parts;
  if (second !== undefined) return normal({ os: first, architecture: second, variant });
  const isOs = ['linux', 'windows', 'darwin', 'freebsd'].includes(first);
  return normal(isOs ? { ...host, os: first } : { os: host.os, architecture: first, variant: '' });
}

/** One spelling of a platform. */
export function normal({ os, architecture, variant }: Platform): Platform {
  const [name, implied] = ARCHITECTURES.get(architecture) ?? [architecture, ''];
  const given = variant === '' ? implied : variant;
  const isDefault =
    (name === 'arm64' && (given === 'v8' || given === '8')) || (name === 'amd64' && given === 'v1');
  const isArm = name === 'arm' && given === '';
  return { os, architecture: name, variant: isDefault ? '' : isArm ? 'v7' : given };
}

/** Whether an image for `candidate` runs where `wanted` is asked for. */
export function platformMatches(wanted: Platform, candidate: Platform): boolean {
  const want = normal(wanted);
  const have = normal(candidate);
  if (want.os !== have.os) return false;
  if (want.architecture === 'amd64' && have.architecture === '386') return true;
  if (want.architecture !== have.architecture) return false;
  if (want.architecture === 'amd64') return level(have.variant) <= level(want.variant || 'v1');
  if (want.architecture === 'arm') return level(have.variant) <= level(want.variant);
  return want.variant === have.variant;
}

function level(variant: string): number {
  return Number(/^v?([0-9]+)/.exec(variant)?.[1] ?? 1);
}

/** `linux/arm/v7`. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = normal(platform);
  return [os, architecture, variant].filter((part) => part !== '').join('/');
}
