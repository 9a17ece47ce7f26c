import { TsError } from '../errors/index.ts';

/** What to take back, in reverse order, when an operation of several steps fails midway. */
export class Undo {
  readonly #steps: (() => Promise<unknown> | undefined)[] = [];

  add(step: () => Promise<unknown> | undefined): void {
    this.#steps.push(step);
  }

  /** Takes everything back. Failures are attached to `thrown`, which is returned as an error. */
  async after(thrown: unknown): Promise<TsError> {
    const error = TsError.from(thrown);
    for (const step of this.#steps.toReversed()) {
      try {
        await step();
      } catch (cleanup) {
        error.cleanup.push(TsError.from(cleanup));
      }
    }
    return error;
  }
}

/** Waits for a removal; what is gone already is success. */
export async function unlessGone(removal: Promise<unknown>): Promise<void> {
  try {
    await removal;
  } catch (thrown) {
    if (TsError.from(thrown).kind !== 'NotFound') throw thrown;
  }
}

/** To kill what has ended is success, as it is when its shim has died and is being cleaned up after. */
export function ignoreEnded(thrown: unknown): void {
  const { kind, message } = TsError.from(thrown);
  if (kind === 'NotFound' || /already finished|not running|^shim of \S+ has ended$/.test(message))
    return;
  throw thrown;
}
