import { packAny, unpackAny } from '../api/any.ts';
import { StreamInit, type Streaming } from '../api/generated/containerd.services.streaming.v1.ts';
import { Empty } from '../api/generated/google.protobuf.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { TsError } from '../errors/index.ts';
import type { GrpcContext } from './context.ts';
import type { StreamManager } from './stream-manager.ts';

/** The streaming service: a client opens a stream, is told that it is known, and then uses it. */
export function streamingService(
  streams: StreamManager,
): ServiceHandlers<typeof Streaming, GrpcContext> {
  return {
    async *stream(requests, { scope, signal }) {
      const iterator = requests[Symbol.asyncIterator]();
      const first = await iterator.next();
      const init = first.done === true ? undefined : unpackAny(first.value, StreamInit);
      if (init === undefined || init.id === '') {
        throw new TsError(
          'InvalidArgument',
          'stream: the first message must be a StreamInit with id',
        );
      }
      const rest = { [Symbol.asyncIterator]: () => iterator };
      const outgoing = streams.open(scope, init.id, rest, signal);
      yield packAny(Empty, {});
      yield* outgoing;
    },
  };
}
