import { TsError } from '../../errors/index.ts';

/** What a pull tells of itself, as far as it matters here. */
interface PullEvent {
  readonly event: string;
  readonly name: string;
}

/**
 * Ends a pull that a registry holds up (`image_pull_progress_timeout`): nothing new has come for too long, although no
 * layer is being unpacked, which may take its time.
 */
export class PullWatch implements Disposable {
  readonly #ending = new AbortController();
  readonly #extracting = new Set<string>();
  readonly #reference: string;
  readonly #timeoutMs: number;
  readonly #timeoutText: string;
  #timer: NodeJS.Timeout | undefined;

  /** `timeoutMs` 0: never. */
  constructor(reference: string, timeoutMs: number, timeoutText: string) {
    this.#reference = reference;
    this.#timeoutMs = timeoutMs;
    this.#timeoutText = timeoutText;
    this.#wait();
  }

  #wait(): void {
    clearTimeout(this.#timer);
    if (this.#timeoutMs > 0) this.#timer = setTimeout(() => this.#end(), this.#timeoutMs);
  }

  #end(): void {
    if (this.#extracting.size > 0) {
      this.#wait();
      return;
    }
    const text = `pull ${this.#reference}: no progress for ${this.#timeoutText}`;
    this.#ending.abort(
      new TsError('DeadlineExceeded', text, {
        code: 'TS_PULL_PROGRESS',
        advice:
          'look whether the registry and the network to it are slow, or raise image_pull_progress_timeout',
      }),
    );
  }

  /** Aborts with the error when the pull is held up. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** Takes what the pull tells. */
  event({ event, name }: PullEvent): void {
    if (event === 'extracting') this.#extracting.add(name);
    if (event === 'extracted') this.#extracting.delete(name);
    this.#wait();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
