import { rm } from 'node:fs/promises';
import { Code, TtrpcClient, TtrpcError } from '../../ttrpc/index.ts';
import { Sandbox } from '../api/generated/containerd.runtime.sandbox.v1.ts';
import { Task as TaskV2 } from '../api/generated/containerd.task.v2.ts';
import { Task as TaskV3 } from '../api/generated/containerd.task.v3.ts';
import type { ServiceClient } from '../api/service.ts';
import { ERROR_KINDS, type ErrorKind, TsError } from '../errors/index.ts';
import { type ShimAddress, socketOf } from './bootstrap-answer.ts';

/** The task service of a shim. Versions 2 and 3 have the same messages under different names. */
export type ShimTasks = ServiceClient<typeof TaskV3>;

/** The sandbox service of a shim that has one. */
export type ShimSandboxes = ServiceClient<typeof Sandbox>;

/** One connection to a shim. */
export class ShimClient implements Disposable {
  readonly address: ShimAddress;
  readonly tasks: ShimTasks;
  readonly sandboxes: ShimSandboxes;
  /** Resolves when the connection is gone. */
  readonly closed: Promise<unknown>;
  readonly #client: TtrpcClient;

  private constructor(address: ShimAddress, client: TtrpcClient) {
    this.address = address;
    this.#client = client;
    this.closed = client.closed;
    const service = address.version === 3 ? TaskV3 : (TaskV2 as unknown as typeof TaskV3);
    this.tasks = withTsErrors(client.service(service));
    this.sandboxes = withTsErrors(client.service(Sandbox));
  }

  /** Connects. Throws Unavailable; its cause has node's error code. */
  static async connect(address: ShimAddress, timeoutMs: number): Promise<ShimClient> {
    const path = socketOf(address);
    try {
      return new ShimClient(address, await TtrpcClient.connect(path, { timeoutMs }));
    } catch (thrown) {
      throw shimError(thrown);
    }
  }

  get isClosed(): boolean {
    return this.#client.isClosed;
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

/** Whether connecting failed because nobody serves the socket: its shim is dead. */
export function isDeadShim(thrown: unknown): boolean {
  let cause = thrown;
  while (cause instanceof TsError || cause instanceof TtrpcError) cause = cause.cause;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  return code === 'ECONNREFUSED' || code === 'ENOENT';
}

/** Removes the socket file of a shim that was killed; one that is served stays. */
export async function removeDeadSocket(address: ShimAddress): Promise<void> {
  const path = socketOf(address);
  if (path.startsWith('\0')) return; // abstract: it went with its owner
  try {
    (await TtrpcClient.connect(path, { timeoutMs: 1000 })).close();
  } catch (thrown) {
    if (isDeadShim(thrown)) await rm(path, { force: true });
  }
}

function withTsErrors<T extends ShimTasks | ShimSandboxes>(service: T): T {
  const wrapped = Object.entries(service).map(([name, call]) => [
    name,
    (request: never, options: never) =>
      (call as (...args: never[]) => Promise<unknown>)(request, options).catch((thrown) => {
        throw shimError(thrown);
      }),
  ]);
  return Object.fromEntries(wrapped) as T;
}

const KINDS: ReadonlyMap<number, ErrorKind> = new Map(
  Object.entries(ERROR_KINDS).map(([kind, { status }]) => [status, kind as ErrorKind]),
);

/** A ttrpc error with its code as the kind. The text is the shim's. */
export function shimError(thrown: unknown): TsError {
  if (!(thrown instanceof TtrpcError)) return TsError.from(thrown);
  const kind = KINDS.get(thrown.code) ?? 'Unknown';
  const text = thrown.code === Code.UNAVAILABLE ? `shim: ${thrown.message}` : thrown.message;
  return new TsError(kind, text, { cause: thrown });
}
