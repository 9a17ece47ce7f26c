import type { Metadata } from '@grpc/grpc-js';
import { TsError } from '../errors/index.ts';
import { checkIdentifier } from '../metadata/identifiers.ts';
import type { Scope } from '../metadata/scope.ts';
import type { GrpcContext } from '../services/context.ts';

const NAMESPACE_HEADER = 'containerd-namespace';
const LEASE_HEADER = 'containerd-lease';

/** The context of one call. Metadata is read only when a handler asks for it. */
export class CallContext implements GrpcContext {
  readonly #call: { readonly signal: AbortSignal };
  readonly #headers: Metadata;
  #metadata: ReadonlyMap<string, readonly string[]> | undefined;
  #scope: Scope | undefined;

  constructor(headers: Metadata, call: { readonly signal: AbortSignal }) {
    this.#headers = headers;
    this.#call = call;
  }

  get signal(): AbortSignal {
    return this.#call.signal;
  }

  get metadata(): ReadonlyMap<string, readonly string[]> {
    this.#metadata ??= new Map(
      Object.keys(this.#headers.getMap()).map((key) => [key, this.#headers.get(key).map(String)]),
    );
    return this.#metadata;
  }

  get namespace(): string {
    return this.#first(NAMESPACE_HEADER);
  }

  get scope(): Scope {
    if (this.#scope !== undefined) return this.#scope;
    const { namespace } = this;
    if (namespace === '') {
      throw new TsError(
        'FailedPrecondition',
        'namespace is required: failed precondition', // the whole text is containerd's
      );
    }
    checkIdentifier('namespace', namespace);
    const lease = this.#first(LEASE_HEADER);
    const call = this.#call;
    this.#scope = {
      namespace,
      lease: lease === '' ? undefined : lease,
      get signal() {
        return call.signal;
      },
    };
    return this.#scope;
  }

  #first(key: string): string {
    return String(this.#headers.get(key)[0] ?? '');
  }
}
