import { unpackAny } from '../api/any.ts';
import { TaskExit, TaskOOM } from '../api/generated/containerd.events.ts';
import type { Logger } from '../log/index.ts';
import { NAMESPACE } from './cri-records.ts';
import type { DaemonServices } from './daemon-services.ts';

/** How long the event of an exit may come after the exit itself. */
const EXIT_EVENT_MS = 2000;
/** Exits that are remembered for those who ask later. */
const MAX_EXITS = 1000;

/** The events of tasks that the CRI needs: out of memory, and ends, which a shim sends in this order. */
export class TaskEvents {
  readonly #exits = new Set<string>();
  readonly #waiting = new Map<string, () => void>();

  /** Reads events until `signal` aborts. */
  async follow(
    services: Pick<DaemonServices, 'events'>,
    log: Logger,
    onOom: (containerId: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const filters = ['/tasks/oom', '/tasks/exit'].map(
      (topic) => `topic=="${topic}",namespace==${NAMESPACE}`,
    );
    while (!signal.aborted) {
      try {
        for await (const { event } of services.events.subscribe({ filters }, { signal })) {
          const oom = unpackAny(event, TaskOOM);
          if (oom !== undefined) onOom(oom.containerId);
          const exit = unpackAny(event, TaskExit);
          if (exit !== undefined && exit.id === exit.containerId) this.#exited(exit.containerId);
        }
      } catch (thrown) {
        if (!signal.aborted) log.warn({ error: thrown }, 'events of tasks: subscribe again');
      }
    }
  }

  #exited(id: string): void {
    this.#exits.add(id);
    const [oldest] = this.#exits;
    if (this.#exits.size > MAX_EXITS && oldest !== undefined) this.#exits.delete(oldest);
    this.#waiting.get(id)?.();
  }

  /** Resolves when the event of a task's end has come, or should have. */
  async exit(id: string): Promise<void> {
    if (this.#exits.has(id)) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, EXIT_EVENT_MS);
      this.#waiting.set(id, () => {
        clearTimeout(timer);
        resolve();
      });
    });
    this.#waiting.delete(id);
  }
}
