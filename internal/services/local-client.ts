import type { CallOptions, MethodType, ServiceClient, ServiceType } from '../api/service.ts';
import type { Scope } from '../metadata/scope.ts';
import type { GrpcContext, GrpcService } from './context.ts';

type AnyHandler = (input: unknown, context: GrpcContext) => unknown;
type AnyMethod = MethodType<object, object>;

const LEASE_HEADER = 'containerd-lease';
const NEVER = new AbortController().signal;

/**
 * A client of one of the daemon's own services for parts of the same process, such as the CRI: what
 * they can do is what a gRPC caller of that namespace can do, without a socket between. Messages are
 * encoded and decoded, so that neither side holds the other's objects.
 */
export function localClient<S extends ServiceType>(
  { type, handlers }: GrpcService & { readonly type: S },
  namespace: string,
): ServiceClient<S> {
  const methods = Object.entries(type.methods).map(([key, method]) => [
    key,
    caller(method as AnyMethod, handlers[key] as AnyHandler, namespace),
  ]);
  return Object.fromEntries(methods) as ServiceClient<S>;
}

function caller(method: AnyMethod, handler: AnyHandler, namespace: string) {
  const input = (message: object) => method.input.decode(method.input.encode(message));
  const output = (message: object) => method.output.decode(method.output.encode(message));
  const hasRequestStream = method.kind === 'client' || method.kind === 'bidi';
  const hasResponseStream = method.kind === 'server' || method.kind === 'bidi';
  return (request: object | AsyncIterable<object>, options: CallOptions = {}): unknown => {
    const given = hasRequestStream
      ? each(request as AsyncIterable<object>, input)
      : input(request as object);
    const context = contextOf(namespace, options);
    if (hasResponseStream) return each(handler(given, context) as AsyncIterable<object>, output);
    return (async () => output((await handler(given, context)) as object))();
  };
}

async function* each(
  messages: AsyncIterable<object>,
  convert: (message: object) => object,
): AsyncIterable<object> {
  for await (const message of messages) yield convert(message);
}

function contextOf(namespace: string, options: CallOptions): GrpcContext {
  const metadata = new Map([...(options.metadata ?? [])].map(([key, value]) => [key, [value]]));
  const signal = signalOf(options);
  const scope: Scope = { namespace, lease: metadata.get(LEASE_HEADER)?.[0], signal };
  return { metadata, signal, scope, namespace };
}

function signalOf({ signal, timeoutMs }: CallOptions): AbortSignal {
  if (timeoutMs === undefined) return signal ?? NEVER;
  const deadline = AbortSignal.timeout(timeoutMs);
  return signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
}
