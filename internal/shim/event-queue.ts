/** A queue of events in their order, with a bound on how many wait for a daemon that is away. */
export class EventQueue<T> {
  readonly #limit: number;
  readonly #events: T[] = [];
  #dropped = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#events.length;
  }

  /** Number of events that were given up for want of room. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The event to be sent next. */
  get first(): T | undefined {
    return this.#events[0];
  }

  /** Adds an event. When the queue is full the oldest one that waits behind the first goes. */
  push(event: T): void {
    this.#events.push(event);
    if (this.#events.length <= this.#limit) return;
    this.#events.splice(1, 1); // the first may be on its way
    this.#dropped++;
  }

  /** Takes the first event out, which has been delivered or cannot be. */
  shift(): void {
    this.#events.shift();
  }
}

/** Wait before the nth new attempt (from 1): a second longer each time, five at most. */
export function retryDelayMs(attempt: number): number {
  return Math.min(attempt, 5) * 1000;
}
