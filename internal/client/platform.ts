import { TsError } from '../errors/index.ts';
import { formatPlatform, hostPlatform, normalizePlatform, type Platform } from '../oci/index.ts';

export { hostPlatform, type Platform };

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
  if (second !== undefined) return normalizePlatform({ os: first, architecture: second, variant });
  const isOs = ['linux', 'windows', 'darwin', 'freebsd'].includes(first);
  return normalizePlatform(
    isOs ? { ...host, os: first } : { os: host.os, architecture: first, variant: '' },
  );
}

/** Whether an image for `candidate` runs where `wanted` is asked for. */
export function platformMatches(wanted: Platform, candidate: Platform): boolean {
  const want = normalizePlatform(wanted);
  const have = normalizePlatform(candidate);
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

/** `linux/arm/v7`, in one spelling. */
export function platformText(platform: Platform): string {
  return formatPlatform(normalizePlatform(platform));
}
