import { TsError } from '../errors/index.ts';

/**
 * What has to be undone if the operation fails later on, last first. After success call
 * {@link keep}; then only what was registered with {@link always} is done.
 */
export class Rollback implements Disposable {
  readonly #actions: { readonly action: () => void; readonly onFailureOnly: boolean }[] = [];
  #failure: TsError | undefined;
  #isKept = false;

  onFailure(action: () => void): void {
    this.#actions.push({ action, onFailureOnly: true });
  }

  always(action: () => void): void {
    this.#actions.push({ action, onFailureOnly: false });
  }

  /** Owns a resource until the end of the operation. */
  use<T extends Disposable>(resource: T): T {
    this.always(() => resource[Symbol.dispose]());
    return resource;
  }

  keep(): void {
    this.#isKept = true;
  }

  /** The error to which failures of the clean-up are attached. */
  failed(error: TsError): TsError {
    this.#failure = error;
    return error;
  }

  [Symbol.dispose](): void {
    for (const { action, onFailureOnly } of this.#actions.reverse()) {
      if (this.#isKept && onFailureOnly) continue;
      try {
        action();
      } catch (thrown) {
        const error = TsError.from(thrown, 'clean up');
        if (this.#failure === undefined) throw error;
        this.#failure.cleanup.push(error);
      }
    }
  }
}
