/**
 * What a shim's `start` prints. Three generations speak differently, and are told apart in this
 * order (containerd core/runtime/v2/shim.go parseStartResponse): protobuf BootstrapResult (2.3 on),
 * JSON (2.0 to 2.2), the bare address of a shim of version 2 (1.x).
 */
import { BootstrapResult } from '../api/generated/containerd.runtime.bootstrap.v1.ts';
import { TsError } from '../errors/index.ts';

/** How a shim is reached; what `bootstrap.json` of a bundle holds. */
export interface ShimAddress {
  /** Version of the task API: 2 or 3. */
  readonly version: number;
  /** `unix://PATH`, `vsock://CID:PORT`, or a bare path. */
  readonly address: string;
  readonly protocol: string;
}

/** Parses the output of `start`. Throws InvalidArgument for an address that cannot be used. */
export function parseBootstrapAnswer(output: Uint8Array): ShimAddress {
  const text = Buffer.from(output).toString('utf8').trim();
  if (text === '') throw new TsError('InvalidArgument', 'start printed no address');
  return checkedAddress(protobufAnswer(output) ?? jsonAnswer(text) ?? bareAnswer(text));
}

/** Parses `bootstrap.json`. Throws InvalidArgument. */
export function parseBootstrapFile(text: string): ShimAddress {
  const answer = jsonAnswer(text.trim());
  if (answer === undefined) throw new TsError('InvalidArgument', 'bootstrap.json holds no address');
  return checkedAddress(answer);
}

/** The address file of older daemons, which holds nothing else: version 2 by ttrpc. */
export function bareAnswer(text: string): ShimAddress {
  return { version: 2, address: text.trim(), protocol: 'ttrpc' };
}

/** A message whose fields make sense: random text is often a decodable message, too. */
function protobufAnswer(output: Uint8Array): ShimAddress | undefined {
  try {
    const { version, address, protocol } = BootstrapResult.decode(output);
    return version > 0 && address !== '' && protocol !== ''
      ? { version, address, protocol }
      : undefined;
  } catch {
    return undefined; // another form
  }
}

function jsonAnswer(text: string): ShimAddress | undefined {
  if (!text.startsWith('{')) return undefined;
  let parsed: { version?: unknown; address?: unknown; protocol?: unknown };
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new TsError('InvalidArgument', `address of a shim: ${(cause as Error).message}`);
  }
  const { version, address, protocol = 'ttrpc' } = parsed;
  if (typeof version !== 'number' || typeof address !== 'string' || typeof protocol !== 'string') {
    throw new TsError('InvalidArgument', `address of a shim: ${text} lacks version or address`);
  }
  return { version, address, protocol };
}

/** The address itself. Throws InvalidArgument or NotImplemented when it cannot be used. */
export function checkedAddress(answer: ShimAddress): ShimAddress {
  const { version, address, protocol } = answer;
  if (version !== 2 && version !== 3) {
    throw new TsError('InvalidArgument', `shim speaks version ${version} of the task API`, {
      code: 'TS_SHIM_VERSION',
      advice: 'use a shim of containerd 1.x or 2.x',
    });
  }
  if (protocol !== 'ttrpc') {
    throw new TsError('NotImplemented', `shim at ${address} speaks ${protocol}, not ttrpc`, {
      code: 'TS_SHIM_PROTOCOL',
    });
  }
  if (/[\s\0]/.test(address)) {
    throw new TsError('InvalidArgument', `start printed no address: ${JSON.stringify(address)}`);
  }
  return answer;
}

/**
 * The argument of node's connect() for an address. A bare path is one of containerd 1.x: of an
 * abstract socket unless it is a file's. Throws NotImplemented for virtual machines' addresses.
 */
export function socketOf({ address }: ShimAddress): string {
  const [, scheme, rest] = /^([a-z]+):\/\/(.*)$/s.exec(address) ?? [];
  if (scheme === 'unix' && rest !== undefined) return rest;
  if (scheme !== undefined) {
    throw new TsError('NotImplemented', `connect to shim: no support for ${scheme}://`, {
      code: 'TS_SHIM_ADDRESS',
    });
  }
  return address.startsWith('/') ? address : `\0${address}`;
}
