import { type ContainerEventResponse, ContainerEventType } from '../api/generated/runtime.v1.ts';
import type { Init } from '../api/init.ts';
import { TsError } from '../errors/index.ts';

export const EVENT_TYPES = {
  created: ContainerEventType.CONTAINER_CREATED_EVENT,
  started: ContainerEventType.CONTAINER_STARTED_EVENT,
  stopped: ContainerEventType.CONTAINER_STOPPED_EVENT,
  deleted: ContainerEventType.CONTAINER_DELETED_EVENT,
} as const;

/** Events that a reader may lag behind; a kubelet that lost some lists everything anew. */
const MAX_QUEUED = 1000;

interface Reader {
  readonly queue: Init<ContainerEventResponse>[];
  wake: () => void;
  isOverrun: boolean;
}

/** The changes of pods and containers, to every reader in the order in which they came. */
export class ContainerEvents {
  readonly #readers = new Set<Reader>();

  publish(event: Init<ContainerEventResponse>): void {
    for (const reader of this.#readers) {
      if (reader.queue.length >= MAX_QUEUED) reader.isOverrun = true;
      else reader.queue.push(event);
      reader.wake();
    }
  }

  /** Events from now on, until `signal` aborts. Throws ResourceExhausted to a reader that does not keep up. */
  async *subscribe(signal: AbortSignal): AsyncIterable<Init<ContainerEventResponse>> {
    const reader: Reader = { queue: [], wake: () => undefined, isOverrun: false };
    const abort = (): void => reader.wake();
    signal.addEventListener('abort', abort);
    this.#readers.add(reader);
    try {
      while (!signal.aborted) {
        const event = reader.queue.shift();
        if (event !== undefined) yield event;
        else if (reader.isOverrun) {
          throw new TsError('ResourceExhausted', `events: ${MAX_QUEUED} of them wait unread`);
        } else {
          await new Promise<void>((resolve) => {
            reader.wake = resolve;
          });
        }
      }
    } finally {
      signal.removeEventListener('abort', abort);
      this.#readers.delete(reader);
    }
  }
}
