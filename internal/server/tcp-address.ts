import { TsError } from '../errors/index.ts';

/** `HOST:PORT` as Go writes it, `[::1]:PORT` for IPv6; no host means every address. */
export function parseTcpAddress(key: string, address: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  if (match === null || port > 65535) {
    throw new TsError('InvalidArgument', `${key} must be HOST:PORT, not "${address}"`, {
      code: 'TS_CONFIG_VALUE',
    });
  }
  const host = match[1] ?? match[2] ?? '';
  return { host: host === '' ? '::' : host, port };
}
