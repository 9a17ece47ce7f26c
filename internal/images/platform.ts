import { TsError } from '../errors/index.ts';
import type { Platform } from '../oci/index.ts';

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
