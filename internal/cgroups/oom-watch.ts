import { closeSync, openSync, readSync, watch, writeFileSync } from 'node:fs';
import { createEventFd, FdWatch } from '../linux/index.ts';

/**
 * Looks at the counter after a hint from the kernel, and tells when it has grown. On v1 the hint
 * comes before the kill is counted, so it looks again for a while.
 */
class KillCounter implements Disposable {
  readonly #read: () => bigint;
  readonly #onOom: (kills: bigint) => void;
  #seen: bigint;
  #timer: NodeJS.Timeout | undefined;

  constructor(read: () => bigint, onOom: (kills: bigint) => void) {
    this.#read = read;
    this.#onOom = onOom;
    this.#seen = read();
  }

  look(againMs?: number): void {
    clearTimeout(this.#timer);
    const kills = this.#read();
    if (kills > this.#seen) {
      this.#seen = kills;
      this.#onOom(kills);
    } else if (againMs !== undefined && againMs <= LAST_LOOK_MS) {
      this.#timer = setTimeout(() => this.look(againMs * 2), againMs).unref();
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

const FIRST_LOOK_MS = 2;
const LAST_LOOK_MS = 2000;

/**
 * cgroup v1: an eventfd registered for memory.oom_control (kernel
 * Documentation/admin-guide/cgroup-v1/memory.rst, OOM Control).
 */
export function watchV1Oom(
  directory: string,
  readKills: () => bigint,
  onOom: (kills: bigint) => void,
): Disposable {
  const counter = new KillCounter(readKills, onOom);
  const eventFd = createEventFd();
  const stack = new DisposableStack();
  stack.use(counter);
  stack.defer(() => closeSync(eventFd));
  try {
    const control = openSync(`${directory}/memory.oom_control`, 'r');
    try {
      writeFileSync(`${directory}/cgroup.event_control`, `${eventFd} ${control}`);
    } finally {
      closeSync(control);
    }
    const value = new Uint8Array(8);
    const events = new FdWatch(eventFd, () => {
      readSync(eventFd, value); // resets it
      counter.look(FIRST_LOOK_MS);
      events.wait({ readable: true });
    });
    stack.use(events);
    events.wait({ readable: true });
  } catch (thrown) {
    stack.dispose();
    throw thrown;
  }
  return stack;
}

/** cgroup v2: the kernel notifies inotify when memory.events changes. */
export function watchV2Oom(
  directory: string,
  readKills: () => bigint,
  onOom: (kills: bigint) => void,
): Disposable {
  const counter = new KillCounter(readKills, onOom);
  const watcher = watch(`${directory}/memory.events`, { persistent: false }, () => counter.look());
  watcher.on('error', () => {}); // the file is gone with its cgroup: nothing more will happen
  return {
    [Symbol.dispose]() {
      watcher.close();
      counter[Symbol.dispose]();
    },
  };
}
