import type { AnyMessage } from '../api/any.ts';
import type { Scope, TimeNs } from '../metadata/scope.ts';

export interface Envelope {
  readonly timestamp: TimeNs;
  readonly namespace: string;
  /** `/tasks/exit`, `/images/create`, … */
  readonly topic: string;
  readonly event: AnyMessage | undefined;
}

/** Where all events of the daemon and its shims meet. */
export interface EventExchange {
  /** Stamps an event with the time and the scope's namespace and delivers it. */
  publish(scope: Scope, topic: string, event: AnyMessage): void;
  /** Delivers an event that a shim has stamped. */
  forward(envelope: Envelope): void;
  /**
   * Events from now on that match any of the filters (all without), until `signal` aborts. A
   * subscriber that does not read loses its subscription, with an error, and never memory.
   */
  subscribe(filters: readonly string[], signal: AbortSignal): AsyncIterable<Envelope>;
}
