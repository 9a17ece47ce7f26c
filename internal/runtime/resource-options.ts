import { TsError } from '../errors/index.ts';
import type { LinuxResources } from '../oci/index.ts';

/** Options of `update` as they were given, by name; sizes and times are still text. */
export interface ResourceOptions {
  readonly texts: Readonly<Record<string, string | undefined>>;
  readonly blkioWeight: number | undefined;
  readonly pidsLimit: number | undefined;
}

/** The limits that the options name. Throws InvalidArgument that names the option. */
export function resourcesOfOptions(options: ResourceOptions): LinuxResources {
  const { texts, blkioWeight, pidsLimit } = options;
  const integer = (name: string) => optional(texts[name], (text) => parseInteger(name, text));
  const size = (name: string) => optional(texts[name], (text) => parseSize(name, text));
  const idle = integer('cpu-idle');
  return {
    cpu: defined({
      shares: integer('cpu-share'),
      quota: integer('cpu-quota'),
      period: integer('cpu-period'),
      burst: integer('cpu-burst'),
      realtimePeriod: integer('cpu-rt-period'),
      realtimeRuntime: integer('cpu-rt-runtime'),
      cpus: texts['cpuset-cpus'],
      mems: texts['cpuset-mems'],
      idle: idle === undefined ? undefined : Number(idle),
    }),
    memory: defined({
      limit: size('memory'),
      reservation: size('memory-reservation'),
      swap: size('memory-swap'),
    }),
    ...(blkioWeight === undefined || blkioWeight === 0 ? {} : { blockIO: { weight: blkioWeight } }),
    ...(pidsLimit === undefined ? {} : { pids: { limit: BigInt(pidsLimit) } }),
  };
}

function optional<T>(text: string | undefined, parse: (text: string) => T): T | undefined {
  return text === undefined || text === '' ? undefined : parse(text);
}

/** Without the properties that are undefined. */
function defined<T extends object>(value: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T;
}

function parseInteger(name: string, text: string): bigint {
  if (/^-?[0-9]{1,19}$/.test(text)) return BigInt(text);
  throw new TsError('InvalidArgument', `--${name} ${JSON.stringify(text)} is not a number`);
}

const UNITS = ['', 'k', 'm', 'g', 't', 'p'];

/** Bytes, with a suffix of 1024s as Docker writes them: `512m`, `1.5g`, `2GiB`; -1 is unlimited. */
function parseSize(name: string, text: string): bigint {
  if (text === '-1') return -1n;
  const match = /^([0-9]+)(?:\.([0-9]+))? ?([kmgtp]?)(?:i?b)?$/i.exec(text);
  if (match === null) {
    throw new TsError('InvalidArgument', `--${name} ${JSON.stringify(text)} is not a size`, {
      advice: 'give bytes, or a number with k, m, g or t',
    });
  }
  const [, whole = '0', fraction = '', unit = ''] = match;
  const factor = 1024n ** BigInt(UNITS.indexOf(unit.toLowerCase()));
  const scale = 10n ** BigInt(fraction.length);
  const bytes = (BigInt(whole + fraction) * factor) / scale;
  if (bytes < 2n ** 63n) return bytes;
  throw new TsError(
    'InvalidArgument',
    `--${name} ${JSON.stringify(text)} is more than 2^63 - 1 bytes`,
  );
}
