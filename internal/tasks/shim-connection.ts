import { TsError } from '../errors/index.ts';
import type { ShimAddress } from './bootstrap-answer.ts';
import { isDeadShim, ShimClient, type ShimSandboxes, type ShimTasks } from './shim-client.ts';
import type { ShimLog } from './shim-log.ts';

/** Longest pause between attempts to reach a shim that does not answer. */
const MAX_RETRY_MS = 10_000;

export interface ShimConnectionOptions {
  /** Id of what lives in the shim, for errors. */
  readonly id: string;
  readonly address: ShimAddress;
  readonly log: ShimLog | undefined;
  /** How long connecting may take; on a Unix socket it is immediate or hopeless. */
  readonly connectTimeoutMs: number;
  /** Called once, when the shim has died. */
  readonly onDead: () => void;
}

/**
 * The connection to a shim, which is made again when it breaks. The shim counts as dead only when its
 * socket refuses connections: a shim that is slow, stopped or confused is alive.
 */
export class ShimConnection {
  readonly address: ShimAddress;
  readonly #options: ShimConnectionOptions;
  #client: ShimClient | undefined;
  #connecting: Promise<ShimClient> | undefined;
  #isDetached = false;
  #isEnding = false;
  #isDead = false;
  #retry: NodeJS.Timeout | undefined;

  constructor(options: ShimConnectionOptions) {
    this.#options = options;
    this.address = options.address;
  }

  /** Whether the shim has been found dead. */
  get isDead(): boolean {
    return this.#isDead;
  }

  /** Whether nothing is asked of the shim any more, see {@link detach}. */
  get isDetached(): boolean {
    return this.#isDetached;
  }

  /** Whether it is detached since what lives in the shim was to end. */
  get isLetGo(): boolean {
    return this.#isDetached && this.#isEnding;
  }

  /** Whether a connection to the shim is open. */
  get isConnected(): boolean {
    return this.#client !== undefined && !this.#client.isClosed;
  }

  /** The shim's task service. Throws Unavailable when the shim cannot be reached. */
  async tasks(): Promise<ShimTasks> {
    return (await this.#connect()).tasks;
  }

  /** The shim's sandbox service, which not every shim has. Throws Unavailable as {@link tasks} does. */
  async sandboxes(): Promise<ShimSandboxes> {
    return (await this.#connect()).sandboxes;
  }

  /** From now on the end of the shim is what was asked for, and no death. */
  expectEnd(): void {
    this.#isEnding = true;
  }

  /**
   * Lets go of the shim: the connection is closed, its end means nothing any more. With
   * `waitMs` the shim gets so long to close the connection by ending itself.
   */
  async detach(waitMs = 0): Promise<void> {
    this.#isDetached = true;
    clearTimeout(this.#retry);
    const client = this.#client;
    if (client !== undefined && waitMs > 0) await within(client.closed, waitMs);
    client?.[Symbol.dispose]();
    this.#options.log?.[Symbol.dispose]();
  }

  /** A connection, as often as it takes; undefined when the shim is dead. */
  async connectForWait(signal: AbortSignal | undefined): Promise<ShimClient | undefined> {
    for (let pauseMs = 100; ; pauseMs = Math.min(2 * pauseMs, MAX_RETRY_MS)) {
      signal?.throwIfAborted();
      try {
        return await this.#connect();
      } catch (thrown) {
        if (this.#isDead) return undefined;
        if (this.#isDetached) throw thrown;
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  async #connect(): Promise<ShimClient> {
    if (this.#client !== undefined && !this.#client.isClosed) return this.#client;
    if (this.#isDead || this.#isDetached) {
      throw new TsError('Unavailable', `shim of ${this.#options.id} has ended`, {
        code: 'TS_SHIM_DEAD',
      });
    }
    this.#connecting ??= this.#open().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #open(): Promise<ShimClient> {
    try {
      const client = await ShimClient.connect(this.address, this.#options.connectTimeoutMs);
      if (this.#isDetached) {
        client[Symbol.dispose]();
        throw new TsError('Unavailable', `shim of ${this.#options.id} has ended`);
      }
      this.#client = client;
      void client.closed.then(() => this.#onLost(client, 0));
      return client;
    } catch (thrown) {
      if (isDeadShim(thrown) && !this.#isDetached && !this.#isEnding) this.#die();
      throw thrown;
    }
  }

  /** After a lost connection: finds out whether the shim lives, however long that takes. */
  #onLost(client: ShimClient, pauseMs: number): void {
    if (this.#isDetached || this.#isEnding || this.#isDead || this.#client !== client) return;
    this.#retry = setTimeout(() => {
      this.#connect().catch(() => {
        this.#onLost(client, Math.min(Math.max(2 * pauseMs, 100), MAX_RETRY_MS));
      });
    }, pauseMs);
    this.#retry.unref();
  }

  #die(): void {
    if (this.#isDead) return;
    this.#isDead = true;
    this.#options.onDead();
    this.#options.log?.[Symbol.dispose]();
  }
}

/** Waits for a promise, but no longer than `ms`. */
export async function within(promise: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([promise, late]);
  clearTimeout(timer);
}
