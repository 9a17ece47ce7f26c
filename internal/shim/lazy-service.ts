import type { TtrpcServer } from '../../ttrpc/index.ts';
import type { CallContext, MethodKind, MethodType, ServiceType } from '../api/service.ts';
import { TsError } from '../errors/index.ts';

/** A service with what serves it. */
export interface LoadedService {
  readonly service: ServiceType;
  readonly handlers: Readonly<Record<string, unknown>>;
}

/** Messages that stay bytes until the service's own module has been loaded. */
const BYTES = {
  typeName: 'bytes',
  encode: (bytes: Uint8Array): Uint8Array => bytes,
  decode: (bytes: Uint8Array): Uint8Array => bytes,
  create: (): Uint8Array => new Uint8Array(0),
};

/**
 * Serves a service whose module is loaded with its first call: most pods live without it, and each
 * pod has a shim. `methods` are the names on the wire; none of them takes a stream.
 */
export function addLazyService(
  server: TtrpcServer,
  typeName: string,
  methods: Readonly<Record<string, Extract<MethodKind, 'unary' | 'server'>>>,
  load: () => Promise<LoadedService>,
): void {
  let loading: Promise<LoadedService> | undefined;
  const call = async (name: string, bytes: Uint8Array, context: CallContext) => {
    loading ??= load();
    const { service, handlers } = await loading;
    const [key, method] = methodOf(service, name);
    const handle = handlers[key] as (request: unknown, context: CallContext) => unknown;
    return { method, answer: handle(decode(method, bytes), context) };
  };
  const entries = Object.entries(methods).map(([name, kind]) => {
    return [name, { name, kind, input: BYTES, output: BYTES }] as const;
  });
  const handlers = Object.entries(methods).map(([name, kind]) => {
    const unary = async (bytes: Uint8Array, context: CallContext): Promise<Uint8Array> => {
      const { method, answer } = await call(name, bytes, context);
      return method.output.encode((await answer) as object);
    };
    const stream = async function* (bytes: Uint8Array, context: CallContext) {
      const { method, answer } = await call(name, bytes, context);
      for await (const item of answer as AsyncIterable<object>) yield method.output.encode(item);
    };
    return [name, kind === 'unary' ? unary : stream] as const;
  });
  server.add({ typeName, methods: Object.fromEntries(entries) }, Object.fromEntries(handlers));
}

function methodOf(service: ServiceType, name: string): [key: string, method: MethodType] {
  const found = Object.entries(service.methods).find(([, method]) => method.name === name);
  if (found !== undefined) return found;
  throw new TsError('Internal', `internal error: ${service.typeName} has no method ${name}`);
}

function decode(method: MethodType, bytes: Uint8Array): object {
  try {
    return method.input.decode(bytes);
  } catch (cause) {
    const text = `${method.input.typeName}: ${(cause as Error).message}`;
    throw new TsError('InvalidArgument', text, { cause });
  }
}
