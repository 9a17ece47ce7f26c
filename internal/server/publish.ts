import { buffer } from 'node:stream/consumers';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { Events, PublishRequest } from '../api/generated/containerd.services.events.v1.ts';
import { Any, Empty } from '../api/generated/google.protobuf.ts';
import { TsError } from '../errors/index.ts';

/** How long a shim waits for its event to be taken. */
const TIMEOUT_MS = 5000;

/**
 * Publishes one event, a serialized Any from `input`, through the daemon at `address`: what shims
 * call the daemon's binary for that do not speak to the daemon themselves.
 */
export async function publishEvent(
  address: string,
  namespace: string,
  topic: string,
  input: NodeJS.ReadableStream,
): Promise<void> {
  const event = decodeEvent(await buffer(input));
  const client = new Client(`unix:${address}`, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('containerd-namespace', namespace);
  try {
    await new Promise<void>((resolve, reject) => {
      client.makeUnaryRequest(
        `/${Events.typeName}/${Events.methods.publish.name}`,
        (request: { topic: string; event: Any }) => Buffer.from(PublishRequest.encode(request)),
        (bytes: Buffer) => Empty.decode(bytes),
        { topic, event },
        metadata,
        { deadline: Date.now() + TIMEOUT_MS },
        (error) => (error === null ? resolve() : reject(error)),
      );
    });
  } catch (error) {
    throw TsError.from(error, `publish ${topic} to ${address}`);
  } finally {
    client.close();
  }
}

function decodeEvent(bytes: Uint8Array): Any {
  try {
    return Any.decode(bytes);
  } catch (error) {
    throw new TsError('InvalidArgument', 'standard input holds no google.protobuf.Any', {
      cause: error,
    });
  }
}
