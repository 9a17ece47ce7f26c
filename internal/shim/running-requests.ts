import { monotonicMs } from '../linux/monotonic-clock.ts';
import type { TaskService } from './task-service.ts';

type TaskHandlers = TaskService['handlers'];

/** A request that is not answered yet. */
export interface RunningRequest {
  readonly method: string;
  readonly container: string;
  readonly exec: string;
  readonly sinceMs: number;
}

/** Knows what a shim is doing, and for whom, so that it can be asked when something hangs. */
export class RunningRequests {
  readonly #running = new Set<RunningRequest>();
  readonly #onRequest: () => void;

  /** `onRequest` is called before each request. */
  constructor(onRequest: () => void) {
    this.#onRequest = onRequest;
  }

  /** The requests that run, the oldest first; `sinceMs` is how long. */
  list(): RunningRequest[] {
    const now = monotonicMs();
    return [...this.#running].map((request) => {
      return { ...request, sinceMs: Math.round(now - request.sinceMs) };
    });
  }

  /** The same handlers, watched. */
  watch(handlers: TaskHandlers): TaskHandlers {
    const entries = Object.entries(handlers).map(([method, handle]) => {
      return [method, this.#watched(method, handle as Handle)] as const;
    });
    return Object.fromEntries(entries) as unknown as TaskHandlers;
  }

  #watched(method: string, handle: Handle): Handle {
    return async (request, context) => {
      this.#onRequest();
      const { id = '', execId = '' } = request;
      const running = { method, container: id, exec: execId, sinceMs: monotonicMs() };
      this.#running.add(running);
      try {
        return await handle(request, context);
      } finally {
        this.#running.delete(running);
      }
    };
  }
}

type Handle = (request: { id?: string; execId?: string }, context: unknown) => Promise<unknown>;
