import type { AnyMessage } from '../api/any.ts';
import { nowNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import { compileFilters } from '../metadata/filters.ts';
import { checkIdentifier } from '../metadata/identifiers.ts';
import type { Scope } from '../metadata/scope.ts';
import type { Envelope, EventExchange } from './event-exchange.ts';
import { fieldsOfEnvelope } from './event-fields.ts';

/** Events that may wait for a subscriber that does not read. */
const DEFAULT_MAX_WAITING = 8192;

/** Events within this process: publishing never waits and never fails for a subscriber's sake. */
export class LocalExchange implements EventExchange {
  readonly #subscriptions = new Set<Subscription>();
  readonly #maxWaiting: number;

  constructor(maxWaiting = DEFAULT_MAX_WAITING) {
    this.#maxWaiting = maxWaiting;
  }

  publish(scope: Scope, topic: string, event: AnyMessage): void {
    checkIdentifier('event namespace', scope.namespace);
    checkTopic(topic);
    this.#deliver({ timestamp: nowNs(), namespace: scope.namespace, topic, event });
  }

  forward(envelope: Envelope): void {
    checkIdentifier('event namespace', envelope.namespace);
    checkTopic(envelope.topic);
    if (envelope.timestamp === 0n) {
      throw new TsError(
        'InvalidArgument',
        'timestamp must be set on forwarded event: invalid argument',
      );
    }
    this.#deliver(envelope);
  }

  /** The subscription begins with the call, not with the first read. */
  subscribe(filters: readonly string[], signal: AbortSignal): AsyncIterable<Envelope> {
    const subscription = new Subscription(compileFilters(filters), this.#maxWaiting);
    this.#subscriptions.add(subscription);
    const end = (): void => {
      this.#subscriptions.delete(subscription);
      subscription.end();
    };
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
    return subscription.read(() => {
      signal.removeEventListener('abort', end);
      end();
    });
  }

  /** How many subscriptions there are. */
  get subscribers(): number {
    return this.#subscriptions.size;
  }

  #deliver(envelope: Envelope): void {
    if (this.#subscriptions.size === 0) return;
    const fields = fieldsOfEnvelope(envelope);
    for (const subscription of this.#subscriptions) {
      if (subscription.matches(fields)) subscription.push(envelope);
    }
  }
}

class Subscription {
  readonly matches: ReturnType<typeof compileFilters>;
  readonly #maxWaiting: number;
  #waiting: Envelope[] = [];
  #isEnded = false;
  #hasOverflown = false;
  #wake: (() => void) | undefined;

  constructor(matches: ReturnType<typeof compileFilters>, maxWaiting: number) {
    this.matches = matches;
    this.#maxWaiting = maxWaiting;
  }

  push(envelope: Envelope): void {
    if (this.#isEnded || this.#hasOverflown) return;
    if (this.#waiting.length >= this.#maxWaiting) {
      this.#hasOverflown = true;
      this.#waiting = [];
    } else {
      this.#waiting.push(envelope);
    }
    this.#wake?.();
  }

  end(): void {
    this.#isEnded = true;
    this.#wake?.();
  }

  async *read(onEnd: () => void): AsyncGenerator<Envelope, void, undefined> {
    try {
      for (;;) {
        if (this.#hasOverflown) {
          throw new TsError(
            'ResourceExhausted',
            `event subscription lost: more than ${this.#maxWaiting} events were not read`,
            {
              code: 'TS_EVENTS_OVERFLOW',
              advice: 'subscribe again and list what may have changed',
            },
          );
        }
        const batch = this.#waiting;
        this.#waiting = [];
        yield* batch;
        if (this.#waiting.length > 0 || this.#hasOverflown) continue;
        if (this.#isEnded) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    } finally {
      onEnd();
    }
  }
}

/** A topic is a path: `/tasks/exit`. (containerd core/events/exchange.) */
function checkTopic(topic: string): void {
  if (topic === '') throw new TsError('InvalidArgument', 'topic must be set: invalid argument');
  if (!topic.startsWith('/')) {
    throw new TsError(
      'InvalidArgument',
      `topic ${JSON.stringify(topic)} must start with '/': invalid argument`,
    );
  }
  if (topic.length === 1) {
    throw new TsError(
      'InvalidArgument',
      'topic "/" must have at least one component: invalid argument',
    );
  }
  for (const component of topic.slice(1).split('/')) checkIdentifier('topic component', component);
}
