import { Signal } from '../constants/signal.ts';
import { type Field, Memory, Named, Result } from '../program/argument.ts';
import type { Sequence } from '../program/sequence.ts';
import { check } from '../program/step.ts';
import { waitForChild } from './processes.ts';

/** struct pollfd: fd (32 bits), events, revents; then a timespec of two words. */
const POLLFD_BYTES = 8;
const TIMESPEC_BYTES = 16;
const POLLIN = 1;

/**
 * Where clone's pidfd goes so that the wait can be limited: `cloneProcess({ pidfd: deadline.pidfd })`.
 */
export class Deadline {
  readonly #poll: Memory;
  readonly #timeoutMs: number | undefined;

  /** Undefined waits for ever. */
  constructor(timeoutMs: number | undefined) {
    this.#timeoutMs = timeoutMs;
    this.#poll = new Memory(
      POLLFD_BYTES,
      () => '{pidfd, POLLIN}',
      (view) => {
        view.setInt16(4, POLLIN, true);
      },
    );
  }

  get pidfd(): Field {
    return this.#poll.field(0, 'pidfd');
  }

  /**
   * Adds the steps that wait for the child and reap it. They fail with ETIMEDOUT after killing it,
   * and with ECANCELED if its wait status, which `onStatus` may announce before, is not 0.
   */
  addWait(
    sequence: Sequence,
    pid: Result,
    name: string,
    onStatus?: (sequence: Sequence, status: Result) => void,
  ): void {
    const ready = sequence.add(
      { label: `wait for ${name}`, call: 'ppoll', args: [this.#poll, 1, this.#timeout(), null, 0] },
      { as: 'ready', retryOn: 'EINTR' },
    );
    sequence.add(
      check(`${name} took longer than ${this.#timeoutMs} ms`, ready, {
        equals: 1,
        errno: 'ETIMEDOUT',
      }),
      {
        tolerate: 'ETIMEDOUT',
        ifTolerated: (late) => {
          const args = [pid, new Named(Signal.SIGKILL, 'SIGKILL')];
          late.add({ label: `kill ${name}`, call: 'kill', args });
          late.add(waitForChild(pid));
          late.add(
            check(`${name} took longer than ${this.#timeoutMs} ms`, ready, {
              equals: 1,
              errno: 'ETIMEDOUT',
            }),
          );
        },
      },
    );
    const memory = new Memory(8, () => '&status');
    const status = new Result('status', memory.field(0, 'status'));
    sequence.add(waitForChild(pid, memory), { retryOn: 'EINTR' });
    onStatus?.(sequence, status);
    sequence.add(
      check(`${name} ended with an error`, status, {
        equals: 0,
        errno: 'ECANCELED',
      }),
    );
  }

  #timeout(): Memory | null {
    const timeoutMs = this.#timeoutMs;
    if (timeoutMs === undefined) return null;
    return new Memory(
      TIMESPEC_BYTES,
      () => `{${timeoutMs} ms}`,
      (view) => {
        view.setBigInt64(0, BigInt(Math.floor(timeoutMs / 1000)), true);
        view.setBigInt64(8, BigInt((timeoutMs % 1000) * 1_000_000), true);
      },
    );
  }
}
