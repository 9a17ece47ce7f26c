/**
 * The shapes that client and server need of a service: structural, so that any generator whose
 * output fits can be used, and none has to import this library.
 */

/** How many messages each side of a method sends: `client` and `server` name the side that streams. */
export type MethodKind = 'unary' | 'server' | 'client' | 'bidi';

/** A protobuf message: `Init` is what `encode` accepts, `Message` what `decode` returns. */
export interface MessageType<out Message = unknown, in Init = never> {
  /** Full protobuf name, `package.Message`. */
  readonly typeName: string;
  encode(init: Init): Uint8Array;
  /** Throws on bytes that are not this message. */
  decode(bytes: Uint8Array): Message;
}

export interface MethodType {
  /** Name on the wire, as in the .proto file: `Create`. */
  readonly name: string;
  readonly input: MessageType;
  readonly output: MessageType;
  readonly kind: MethodKind;
}

export interface ServiceType {
  /** Full protobuf name, `package.Service`. */
  readonly typeName: string;
  /** Methods by the name they have in code: `create`. */
  readonly methods: Readonly<Record<string, MethodType>>;
}

/** What decoding a message type gives. */
export type MessageOf<T extends MessageType> = ReturnType<T['decode']>;

/** What encoding a message type takes. */
export type InitOf<T extends MessageType> = Parameters<T['encode']>[0];

/** What a handler knows of the call besides its request. */
export interface CallContext {
  /** Keys in lower case; the values of a repeated key in the order of the wire. */
  readonly metadata: ReadonlyMap<string, readonly string[]>;
  /** Aborted when the deadline passes, the caller goes away or the server is closed. */
  readonly signal: AbortSignal;
}

/** What a caller may say of a call besides its request. */
export interface CallOptions {
  /** Pairs to send beside the request; keys are sent in lower case and may repeat. */
  readonly metadata?: Iterable<readonly [string, string]>;
  /** Ends the call with CANCELLED. */
  readonly signal?: AbortSignal;
  /** Ends the call with DEADLINE_EXCEEDED, on both sides; none or 0 is no limit. */
  readonly timeoutMs?: number;
}

/** Signature of a server's handler for one method. */
export type Handler<M extends MethodType, Context = CallContext> = {
  unary: (request: MessageOf<M['input']>, context: Context) => Promise<InitOf<M['output']>>;
  server: (request: MessageOf<M['input']>, context: Context) => AsyncIterable<InitOf<M['output']>>;
  client: (
    requests: AsyncIterable<MessageOf<M['input']>>,
    context: Context,
  ) => Promise<InitOf<M['output']>>;
  bidi: (
    requests: AsyncIterable<MessageOf<M['input']>>,
    context: Context,
  ) => AsyncIterable<InitOf<M['output']>>;
}[M['kind']];

/** Handlers of a service, by code name; a method without a handler answers UNIMPLEMENTED. */
export type Handlers<S extends ServiceType, Context = CallContext> = {
  readonly [Name in keyof S['methods']]?: Handler<S['methods'][Name], Context>;
};

/** Signature of a client's call of one method. */
export type Call<M extends MethodType, Options = CallOptions> = {
  unary: (request: InitOf<M['input']>, options?: Options) => Promise<MessageOf<M['output']>>;
  server: (
    request: InitOf<M['input']>,
    options?: Options,
  ) => AsyncIterableIterator<MessageOf<M['output']>>;
  client: (
    requests: AsyncIterable<InitOf<M['input']>>,
    options?: Options,
  ) => Promise<MessageOf<M['output']>>;
  bidi: (
    requests: AsyncIterable<InitOf<M['input']>>,
    options?: Options,
  ) => AsyncIterableIterator<MessageOf<M['output']>>;
}[M['kind']];

/** A service as its client sees it: one function for each method, by code name. */
export type Calls<S extends ServiceType, Options = CallOptions> = {
  readonly [Name in keyof S['methods']]: Call<S['methods'][Name], Options>;
};
