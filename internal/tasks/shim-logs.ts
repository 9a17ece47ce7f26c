import { TtrpcClient } from '../../ttrpc/index.ts';
import { Logs } from '../api/generated/tscontainerd.shim.v1.ts';
import { type ShimAddress, socketOf } from './bootstrap-answer.ts';
import { shimError } from './shim-client.ts';

const CONNECT_TIMEOUT_MS = 5000;
const CALL_TIMEOUT_MS = 10_000;

/** A piece of a task's output. */
export interface LogOutput {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Uint8Array;
}

/**
 * The logs that a shim of this project writes itself (tscontainerd.shim.v1.Logs), each call on a connection of its
 * own. Another project's shim answers NotImplemented.
 */
export class ShimLogs {
  readonly #address: ShimAddress;
  readonly #id: string;

  constructor(address: ShimAddress, id: string) {
    this.#address = address;
    this.#id = id;
  }

  /** Opens the log files of the task's first process anew. */
  async reopen(): Promise<void> {
    try {
      const client = await this.#connect();
      try {
        await client.service(Logs).reopen({ id: this.#id }, { timeoutMs: CALL_TIMEOUT_MS });
      } finally {
        client.close();
      }
    } catch (thrown) {
      throw shimError(thrown);
    }
  }

  /** Output from now on, until it ends or `signal` aborts. `onAttached` is called when nothing is missed any more. */
  async *attach(
    streams: { readonly stdout: boolean; readonly stderr: boolean },
    signal: AbortSignal,
    onAttached: () => void,
  ): AsyncIterable<LogOutput> {
    const client = await this.#connect().catch((thrown: unknown) => {
      throw shimError(thrown);
    });
    const close = (): void => client.close();
    signal.addEventListener('abort', close);
    try {
      for await (const { stream, data } of client
        .service(Logs)
        .attach({ id: this.#id, ...streams })) {
        if (stream === 'stdout' || stream === 'stderr') yield { stream, data };
        else onAttached();
      }
    } catch (thrown) {
      if (!signal.aborted) throw shimError(thrown);
    } finally {
      signal.removeEventListener('abort', close);
      client.close();
    }
  }

  #connect(): Promise<TtrpcClient> {
    return TtrpcClient.connect(socketOf(this.#address), { timeoutMs: CONNECT_TIMEOUT_MS });
  }
}
