import type { Request } from './messages.ts';
import type { MessageQueue } from './queue.ts';
import type { ServerStream } from './server-stream.ts';
import type { CallContext, MethodType } from './service.ts';
import { Code, statusOf, TtrpcError } from './status.ts';

type Input = (request: unknown, context: CallContext) => unknown;

/** A method with the function that serves it; `handler` has the shape that `method.kind` asks for. */
export interface RegisteredMethod {
  readonly serviceName: string;
  readonly method: MethodType;
  readonly handler: Input;
}

/**
 * Runs a handler to its end. Each message of a streamed output goes to `send`, which tells whether
 * more are wanted; the result is the one output message, or undefined when the output was streamed.
 */
export async function runHandler(
  registered: RegisteredMethod,
  stream: ServerStream,
  request: Request,
  send: (payload: Uint8Array) => Promise<boolean>,
): Promise<Uint8Array | undefined> {
  const { method, handler } = registered;
  const decode = (bytes: Uint8Array): unknown => decodeInput(registered, bytes);
  const input =
    stream.input === undefined
      ? decode(request.payload ?? new Uint8Array(0))
      : decoded(stream.input, decode);
  const output = handler(input, stream.context);
  if (method.kind === 'unary' || method.kind === 'client') {
    return method.output.encode((await output) as never);
  }
  for await (const message of output as AsyncIterable<never>) {
    if (!(await send(method.output.encode(message)))) break;
  }
  return undefined;
}

function decodeInput({ serviceName, method }: RegisteredMethod, bytes: Uint8Array): unknown {
  try {
    return method.input.decode(bytes);
  } catch (cause) {
    const text = `${serviceName}/${method.name}: ${method.input.typeName}: ${statusOf(cause).message}`;
    throw new TtrpcError(Code.INVALID_ARGUMENT, text, { cause });
  }
}

async function* decoded(
  input: MessageQueue,
  decode: (bytes: Uint8Array) => unknown,
): AsyncGenerator<unknown> {
  for (;;) {
    const bytes = await input.next();
    if (bytes === undefined) return;
    yield decode(bytes);
  }
}
