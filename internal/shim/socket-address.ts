import { join } from 'node:path';
import { TsError } from '../errors/index.ts';
import { sha256Hex } from './sha256.ts';

/** Where sockets of shims live unless the daemon names another directory. */
export const DEFAULT_SOCKET_DIRECTORY = '/run/containerd/s';

/** Longest path of a Unix socket: sun_path has 108 bytes, one is the NUL, one is kept in reserve. */
const MAX_SOCKET_PATH = 106;
/** What containerd allows a socket directory: 42 bytes, a slash and 64 hex digits stay below 108. */
const MAX_DIRECTORY = 42;

export interface SocketOwner {
  /** The daemon's gRPC address: two daemons on one machine never share a shim. */
  readonly daemonAddress: string;
  readonly namespace: string;
  /** The id, or the sandbox or group that several tasks share. */
  readonly group: string;
}

/**
 * The path of a shim's socket: SHA-256 over the owner, in hex, in `directory`. The same owner gives
 * the same path, which is how a second task of a pod finds the first one's shim (containerd
 * pkg/shim/util_unix.go).
 */
export function socketPath(owner: SocketOwner, directory = DEFAULT_SOCKET_DIRECTORY): string {
  if (Buffer.byteLength(directory) > MAX_DIRECTORY && directory !== DEFAULT_SOCKET_DIRECTORY) {
    throw new TsError(
      'InvalidArgument',
      `socket directory ${directory}: longer than ${MAX_DIRECTORY} bytes`,
      { advice: 'configure a shorter directory for the sockets of shims' },
    );
  }
  const name = join(owner.daemonAddress, owner.namespace, owner.group);
  return join(directory, sha256Hex(name));
}

/** The path inside an address of a shim or a `-socket` flag. Throws InvalidArgument if it is none. */
export function pathOfAddress(address: string): string {
  const path = address.startsWith('unix://') ? address.slice('unix://'.length) : address;
  if (!path.startsWith('/')) {
    throw new TsError('InvalidArgument', `socket address ${address}: not a path`);
  }
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    throw new TsError(
      'InvalidArgument',
      `socket address ${address}: longer than ${MAX_SOCKET_PATH} bytes`,
    );
  }
  return path;
}

const GROUP_ANNOTATIONS = ['io.containerd.runc.v2.group', 'io.kubernetes.cri.sandbox-id'] as const;

/** The group a task belongs to by the annotations of its config.json; its own id if none. */
export function groupOf(id: string, annotations: ReadonlyMap<string, string>): string {
  for (const name of GROUP_ANNOTATIONS) {
    const group = annotations.get(name);
    if (group !== undefined && group !== '') return group;
  }
  return id;
}

/**
 * The annotations in the text of a config.json. Values that are no strings are left out: whether
 * the file is valid is for the runtime to say. Throws InvalidArgument when it is not JSON.
 */
export function annotationsOf(configJson: string): Map<string, string> {
  let config: unknown;
  try {
    config = JSON.parse(configJson);
  } catch (cause) {
    throw new TsError('InvalidArgument', `config.json: ${(cause as Error).message}`, { cause });
  }
  const annotations = (config as { annotations?: unknown } | null)?.annotations;
  if (typeof annotations !== 'object' || annotations === null) return new Map();
  return new Map(
    Object.entries(annotations).filter((entry): entry is [string, string] => {
      return typeof entry[1] === 'string';
    }),
  );
}
