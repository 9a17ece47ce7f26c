/**
 * Events to the daemon, one after the other, by ttrpc (`Events.Forward`).
 *
 * A daemon that is down gets them when it is back: nothing is given up but what exceeds the queue,
 * and an event that a daemon refuses again and again.
 */

import { Code, TtrpcClient, TtrpcError } from '../../ttrpc/index.ts';
import { type AnyMessage, packAny } from '../api/any.ts';
import { Events } from '../api/generated/containerd.services.events.ttrpc.v1.ts';
import type { Init } from '../api/init.ts';
import type { MessageType } from '../api/service.ts';
import { nowNs, timestampFromNs } from '../api/time.ts';
import { EventQueue, retryDelayMs } from './event-queue.ts';
import type { ShimLog } from './log.ts';

/**
 * What waits is some hundred bytes each. A daemon that is busy takes them one by one: eight clients that make containers and
 * execs in one shim have been ahead of it by thousands.
 */
const QUEUE_LIMIT = 16_384;
const FORWARD_MS = 5_000;
/** Refusals of one event after which it is dropped. */
const MAX_REFUSALS = 5;

/** How the rest of the shim tells of events. */
export interface EventSink {
  publish<T extends object>(topic: string, type: MessageType<T>, event: Init<T>): void;
}

interface QueuedEvent {
  readonly topic: string;
  readonly timeNs: bigint;
  readonly event: AnyMessage;
}

export class EventPublisher implements EventSink {
  readonly #address: string;
  readonly #namespace: string;
  readonly #log: ShimLog;
  readonly #queue = new EventQueue<QueuedEvent>(QUEUE_LIMIT);
  #client: TtrpcClient | undefined;
  #isSending = false;
  #isClosed = false;
  #wake: (() => void) | undefined;
  #onEmpty: (() => void) | undefined;

  /** `address` is the path of the daemon's ttrpc socket. */
  constructor(address: string, namespace: string, log: ShimLog) {
    this.#address = address.replace(/^unix:\/\//, '');
    this.#namespace = namespace;
    this.#log = log;
    if (address === '') log.warn('no events: TTRPC_ADDRESS is not in the environment');
  }

  /** Number of events that are not yet delivered. */
  get pending(): number {
    return this.#queue.length;
  }

  publish<T extends object>(topic: string, type: MessageType<T>, event: Init<T>): void {
    if (this.#isClosed || this.#address === '') return;
    const before = this.#queue.dropped;
    const { typeUrl, value } = packAny(type, event);
    // Encoded bytes are a slice of a pool of 64 KB, all of which each event that waits would keep.
    this.#queue.push({ topic, timeNs: nowNs(), event: { typeUrl, value: new Uint8Array(value) } });
    if (this.#queue.dropped > before)
      this.#log.warn('event dropped: the daemon is away for too long');
    if (!this.#isSending) void this.#send();
  }

  /** Delivers what is queued, for at most `deadlineMs`, and closes the connection. */
  async close(deadlineMs: number): Promise<void> {
    if (this.#queue.length > 0) {
      this.#wake?.();
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#onEmpty = resolve;
        timer = setTimeout(resolve, deadlineMs);
      });
      clearTimeout(timer);
    }
    this.#isClosed = true;
    this.#wake?.();
    this.#client?.close();
    if (this.#queue.length > 0) this.#log.error('events lost', { count: this.#queue.length });
  }

  /** Sends until the queue is empty. Never rejects. */
  async #send(): Promise<void> {
    this.#isSending = true;
    let attempt = 0;
    let refusals = 0;
    for (;;) {
      const { first } = this.#queue;
      if (first === undefined || this.#isClosed) break;
      try {
        await this.#forward(first);
        attempt = 0;
        refusals = 0;
        this.#queue.shift();
        continue;
      } catch (thrown) {
        if (isRefusal(thrown) && ++refusals >= MAX_REFUSALS) {
          this.#log.error('event refused by the daemon', { topic: first.topic, error: thrown });
          this.#queue.shift();
          refusals = 0;
          continue;
        }
        attempt++;
        this.#log.debug('event not delivered', { topic: first.topic, attempt, error: thrown });
      }
      await this.#pause(retryDelayMs(attempt));
    }
    this.#isSending = false;
    this.#onEmpty?.();
  }

  async #forward(event: QueuedEvent): Promise<void> {
    // A connection may have died with an earlier daemon: then a new one is tried at once.
    const wasConnected = this.#client !== undefined && !this.#client.isClosed;
    try {
      await this.#call(event);
    } catch (thrown) {
      const isDead = this.#client === undefined || this.#client.isClosed;
      if (!wasConnected || !isDead) throw thrown;
      await this.#call(event);
    }
  }

  async #call(event: QueuedEvent): Promise<void> {
    if (this.#client === undefined || this.#client.isClosed) {
      this.#client = await TtrpcClient.connect(this.#address, { timeoutMs: FORWARD_MS });
    }
    const envelope = {
      timestamp: timestampFromNs(event.timeNs),
      namespace: this.#namespace,
      topic: event.topic,
      event: event.event,
    };
    await this.#client.service(Events).forward({ envelope }, { timeoutMs: FORWARD_MS });
  }

  async #pause(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
    this.#wake = undefined;
  }
}

/** Whether a daemon has answered and does not want the event, rather than being away or slow. */
function isRefusal(thrown: unknown): boolean {
  if (!(thrown instanceof TtrpcError)) return false;
  return thrown.code !== Code.UNAVAILABLE && thrown.code !== Code.DEADLINE_EXCEEDED;
}
