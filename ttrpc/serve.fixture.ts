import assert from 'node:assert/strict';
import { Echo, type Text, temporarySocket } from './echo.fixture.ts';
import {
  type CallContext,
  type Handlers,
  type Limits,
  TtrpcClient,
  TtrpcError,
  TtrpcServer,
  type TtrpcServerOptions,
} from './index.ts';

/** Straightforward handlers of the test service. */
export const handlers: Handlers<typeof Echo> = {
  once: async ({ text }) => ({ text: `${text}!` }),
  async *split({ text }) {
    for (const word of text.split(' ')) yield { text: word };
  },
  async join(requests) {
    const words = [];
    for await (const { text } of requests) words.push(text);
    return { text: words.join(' ') };
  },
  async *each(requests) {
    for await (const { text } of requests) yield { text: text.toUpperCase() };
  },
};

/** A server of the test service and one client of it; both go with the result. */
export async function serve(
  implementation: Handlers<typeof Echo> = handlers,
  options: TtrpcServerOptions & { client?: Limits } = {},
) {
  const socket = temporarySocket();
  const server = new TtrpcServer(options).add(Echo, implementation);
  await server.listen(socket.path);
  const client = await TtrpcClient.connect(socket.path, options.client);
  return {
    path: socket.path,
    server,
    client,
    echo: client.service(Echo),
    async [Symbol.asyncDispose]() {
      client.close();
      await server.shutdown(1000);
      socket[Symbol.dispose]();
    },
  };
}

/** A stream of messages. */
export async function* texts(...words: string[]): AsyncGenerator<Text> {
  for (const text of words) yield { text };
}

/** The texts of a stream. */
export async function collect(messages: AsyncIterable<Text>): Promise<string[]> {
  const all = [];
  for await (const { text } of messages) all.push(text);
  return all;
}

/** Waits for the abort of a handler's signal and tells its reason. */
export function aborted(context: CallContext): Promise<TtrpcError> {
  return new Promise((resolve) => {
    const { signal } = context;
    if (signal.aborted) resolve(signal.reason);
    else signal.addEventListener('abort', () => resolve(signal.reason), { once: true });
  });
}

/** A check for assert.rejects: code and whole message. */
export const isError = (code: number, message: string) => (thrown: unknown) => {
  assert.ok(thrown instanceof TtrpcError);
  assert.deepEqual({ code: thrown.code, message: thrown.message }, { code, message });
  return true;
};
