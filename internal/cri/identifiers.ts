import { randomBytes } from 'node:crypto';
import { TsError } from '../errors/index.ts';

/** A new id of a sandbox or container: 64 hex digits, as containerd and Docker make them. */
export function newId(): string {
  return randomBytes(32).toString('hex');
}

/** Records by id, found by any unambiguous beginning of it, as `crictl` users type them. */
export class IdIndex<T> {
  readonly #kind: string;
  readonly #records = new Map<string, T>();

  /** `kind` names the records in errors: `sandbox`, `container`. */
  constructor(kind: string) {
    this.#kind = kind;
  }

  set(id: string, record: T): void {
    this.#records.set(id, record);
  }

  delete(id: string): void {
    this.#records.delete(id);
  }

  values(): T[] {
    return [...this.#records.values()];
  }

  /** Throws NotFound, or InvalidArgument when several ids begin so. */
  get(id: string): T {
    const found = this.find(id);
    if (found !== undefined) return found;
    throw new TsError('NotFound', `${this.#kind} "${id}"`);
  }

  /** Undefined when there is none; throws InvalidArgument when several ids begin so. */
  find(id: string): T | undefined {
    const exact = this.#records.get(id);
    if (exact !== undefined) return exact;
    if (id === '') return undefined;
    const matches = [...this.#records.keys()].filter((candidate) => candidate.startsWith(id));
    if (matches.length > 1) {
      throw new TsError(
        'InvalidArgument',
        `${this.#kind} "${id}": ${matches.length} ids begin so`,
        {
          advice: 'give more digits of the id',
        },
      );
    }
    return matches[0] === undefined ? undefined : this.#records.get(matches[0]);
  }
}

/**
 * Names of pods and containers, each taken by one id at a time: a kubelet that asks twice, since it did
 * not hear the first answer, must not get two of them.
 */
export class NameRegistry {
  readonly #kind: string;
  readonly #ids = new Map<string, string>();

  constructor(kind: string) {
    this.#kind = kind;
  }

  /** Takes a name. Throws FailedPrecondition, as containerd does, naming the id that has it; the same id may take it again. */
  reserve(name: string, id: string): void {
    const holder = this.#ids.get(name);
    if (holder !== undefined && holder !== id) {
      throw new TsError(
        'FailedPrecondition',
        `${this.#kind} name "${name}" is reserved for "${holder}"`,
      );
    }
    this.#ids.set(name, id);
  }

  /** Gives a name back, if this id holds it. */
  release(name: string, id: string): void {
    if (this.#ids.get(name) === id) this.#ids.delete(name);
  }

  /** Who holds a name. */
  holder(name: string): string | undefined {
    return this.#ids.get(name);
  }
}
