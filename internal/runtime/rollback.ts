import { TsError } from '../errors/index.ts';
import type { Operation } from '../linux/index.ts';

/** An undoing may have to wait, as for the end of a killed child. */
// biome-ignore lint/suspicious/noConfusingVoidType: most have no value
type Action = () => Operation<unknown> | void;

/**
 * What has to be undone if the operation fails later on, last first. After success only what was
 * registered with {@link always} is done.
 */
export class Rollback {
  readonly #actions: { readonly action: Action; readonly onFailureOnly: boolean }[] = [];

  /**
   * Runs an operation and whatever it leaves to be undone. Failures of the clean-up are attached to
   * the operation's own error; `name` is for errors that are not ours.
   */
  static *run<T>(name: string, body: (rollback: Rollback) => Operation<T>): Operation<T> {
    const rollback = new Rollback();
    let result: T;
    try {
      result = yield* body(rollback);
    } catch (thrown) {
      const error = TsError.from(thrown, name);
      yield* rollback.#end(error);
      throw error;
    }
    yield* rollback.#end(undefined);
    return result;
  }

  onFailure(action: Action): void {
    this.#actions.push({ action, onFailureOnly: true });
  }

  always(action: Action): void {
    this.#actions.push({ action, onFailureOnly: false });
  }

  /** Owns a resource until the end of the operation. */
  use<T extends Disposable>(resource: T): T {
    this.always(() => resource[Symbol.dispose]());
    return resource;
  }

  *#end(failure: TsError | undefined): Operation<void> {
    for (const { action, onFailureOnly } of this.#actions.reverse()) {
      if (failure === undefined && onFailureOnly) continue;
      try {
        const waiting = action();
        if (waiting !== undefined) yield* waiting;
      } catch (thrown) {
        const error = TsError.from(thrown, 'clean up');
        if (failure === undefined) throw error;
        failure.cleanup.push(error);
      }
    }
  }
}
