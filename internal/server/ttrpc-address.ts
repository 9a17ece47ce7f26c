import type { ConfigFile } from '../config/index.ts';

/** Where shims send their events: beside the socket of the API unless configured. */
export function ttrpcAddress({ grpc, ttrpc }: ConfigFile): string {
  return ttrpc.address === '' ? `${grpc.address}.ttrpc` : ttrpc.address;
}
