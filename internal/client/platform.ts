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

/** `linux/arm/v7`, in one spelling. */
export function platformText(platform: Platform): string {
  return formatPlatform(normalizePlatform(platform));
}
