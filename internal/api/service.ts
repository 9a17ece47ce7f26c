import type { Init } from './init.ts';

/**
 * Shapes that gRPC and ttrpc share: what a generated message codec and a generated service
 * description look like, and the functions that implement or call a service.
 */
export interface MessageType<T extends object> {
  /** Full name without a leading dot: `containerd.types.Mount`. */
  readonly typeName: string;
  /** Protobuf bytes of a message; absent fields take their proto3 default. */
  encode(message: Init<T>): Uint8Array;
  /** Parses protobuf bytes; throws RangeError on truncated or malformed input. */
  decode(bytes: Uint8Array): T;
  /** A whole message from part of one. Fields are taken over, not copied. */
  create(message?: Init<T>): T;
}

/** Who streams: nobody, the server, the client or both. */
export type MethodKind = 'unary' | 'server' | 'client' | 'bidi';

export interface MethodType<I extends object = object, O extends object = object> {
  /** Name on the wire: `Create`. */
  readonly name: string;
  readonly kind: MethodKind;
  readonly input: MessageType<I>;
  readonly output: MessageType<O>;
}

export interface ServiceType {
  /** Full name: `containerd.task.v3.Task`; a method's path is `/typeName/name`. */
  readonly typeName: string;
  // biome-ignore lint/suspicious/noExplicitAny: a service holds methods over any messages
  readonly methods: Readonly<Record<string, MethodType<any, any>>>;
}

/** What a handler knows of the call besides its request. */
export interface CallContext {
  /** Lower-case keys; the values of a repeated key in the order of the wire. */
  readonly metadata: ReadonlyMap<string, readonly string[]>;
  /** Aborted when the caller cancels, goes away or its deadline passes. */
  readonly signal: AbortSignal;
}

type Output<M> = M extends MethodType<infer _I, infer O> ? O : never;
type Input<M> = M extends MethodType<infer I, infer _O> ? I : never;

/** The function that serves a method. */
export type Handler<M extends MethodType, C = CallContext> = M['kind'] extends 'unary'
  ? (request: Input<M>, context: C) => Promise<Init<Output<M>>>
  : M['kind'] extends 'server'
    ? (request: Input<M>, context: C) => AsyncIterable<Init<Output<M>>>
    : M['kind'] extends 'client'
      ? (requests: AsyncIterable<Input<M>>, context: C) => Promise<Init<Output<M>>>
      : (requests: AsyncIterable<Input<M>>, context: C) => AsyncIterable<Init<Output<M>>>;

/** An implementation of every method of a service. */
export type ServiceHandlers<S extends ServiceType, C = CallContext> = {
  readonly [K in keyof S['methods']]: Handler<S['methods'][K], C>;
};

export interface CallOptions {
  readonly metadata?: Iterable<readonly [string, string]>;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

/** The function that calls a method. */
export type Caller<M extends MethodType> = M['kind'] extends 'unary'
  ? (request: Init<Input<M>>, options?: CallOptions) => Promise<Output<M>>
  : M['kind'] extends 'server'
    ? (request: Init<Input<M>>, options?: CallOptions) => AsyncIterable<Output<M>>
    : M['kind'] extends 'client'
      ? (requests: AsyncIterable<Init<Input<M>>>, options?: CallOptions) => Promise<Output<M>>
      : (
          requests: AsyncIterable<Init<Input<M>>>,
          options?: CallOptions,
        ) => AsyncIterable<Output<M>>;

/** A client of a service: one function for each method. */
export type ServiceClient<S extends ServiceType> = {
  readonly [K in keyof S['methods']]: Caller<S['methods'][K]>;
};
