/** Calls the snapshots service of another process over gRPC (containerd.services.snapshots.v1). */
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { Snapshots } from '../api/generated/containerd.services.snapshots.v1.ts';
import type { Init } from '../api/init.ts';
import type { MessageType } from '../api/service.ts';
import { ERROR_KINDS, type ErrorKind, TsError } from '../errors/index.ts';

const MAX_MESSAGE_BYTES = 16 << 20;
/** How long one that is not there is waited for. */
const CONNECT_MS = 3000;
/** Preparing may fetch from a registry. */
const DEADLINE_MS = 10 * 60_000;

type Methods = (typeof Snapshots)['methods'];
type UnaryName = {
  [K in keyof Methods]: Methods[K]['kind'] extends 'unary' ? K : never;
}[keyof Methods];
type InputOf<K extends keyof Methods> =
  Methods[K]['input'] extends MessageType<infer I> ? I : never;
type OutputOf<K extends keyof Methods> =
  Methods[K]['output'] extends MessageType<infer O> ? O : never;

export class ProxyClient {
  readonly #client: Client;
  /** Plugin id, which is also what the other process knows its snapshotter by. */
  readonly name: string;
  readonly #address: string;

  constructor(name: string, address: string) {
    this.name = name;
    this.#address = address;
    const path = address.replace(/^unix:\/\//, '');
    this.#client = new Client(`unix:${path}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
      // One that was restarted is found again at once.
      'grpc.initial_reconnect_backoff_ms': 50,
      'grpc.max_reconnect_backoff_ms': 1000,
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  async call<K extends UnaryName>(
    key: K,
    request: Init<InputOf<K>>,
    namespace: string,
    signal?: AbortSignal,
  ): Promise<OutputOf<K>> {
    const method = Snapshots.methods[key];
    const input = method.input as unknown as MessageType<InputOf<K>>;
    const output = method.output as unknown as MessageType<OutputOf<K>>;
    await this.#connected(method.name);
    return await new Promise<OutputOf<K>>((resolve, reject) => {
      const running = this.#client.makeUnaryRequest(
        `/${Snapshots.typeName}/${method.name}`,
        (message: Init<InputOf<K>>) => Buffer.from(input.encode(message)),
        (bytes: Buffer) => output.decode(bytes),
        request,
        metadataOf(namespace),
        { deadline: Date.now() + DEADLINE_MS },
        (error: ServiceError | null, value?: OutputOf<K>) => {
          if (error !== null) reject(this.#errorOf(method.name, error));
          else if (value !== undefined) resolve(value);
        },
      );
      signal?.addEventListener('abort', () => running.cancel(), { once: true });
    });
  }

  /** Names of all its snapshots. */
  async names(namespace: string): Promise<string[]> {
    const { list } = Snapshots.methods;
    await this.#connected(list.name);
    const call = this.#client.makeServerStreamRequest(
      `/${Snapshots.typeName}/${list.name}`,
      (message: Parameters<typeof list.input.encode>[0]) => Buffer.from(list.input.encode(message)),
      (bytes: Buffer) => list.output.decode(bytes),
      { snapshotter: this.name },
      metadataOf(namespace),
      { deadline: Date.now() + DEADLINE_MS },
    );
    const names: string[] = [];
    try {
      for await (const { info } of call as AsyncIterable<OutputOf<'list'>>) {
        names.push(...info.map(({ name }) => name));
      }
    } catch (error) {
      throw this.#errorOf(list.name, error as ServiceError);
    }
    return names;
  }

  close(): void {
    this.#client.close();
  }

  /** Waits for a moment for one that is just being restarted. */
  async #connected(method: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#client.waitForReady(Date.now() + CONNECT_MS, (error) => {
        if (error === undefined || error === null) resolve();
        else reject(this.#away(method, 'it does not serve', error));
      });
    });
  }

  #away(method: string, why: string, cause: unknown): TsError {
    return new TsError('Unavailable', `snapshotter ${this.name}: ${method}: ${why}`, {
      cause,
      code: 'TS_PROXY_SNAPSHOTTER_AWAY',
      advice: `start the snapshotter that is to serve ${this.#address}`,
    });
  }

  #errorOf(method: string, error: ServiceError): TsError {
    const found = Object.entries(ERROR_KINDS).find(([, { status }]) => status === error.code);
    const kind = (found?.[0] ?? 'Unknown') as ErrorKind;
    const details = error.details.replace(new RegExp(`: ${found?.[1].text}$`), '');
    if (kind === 'Unavailable') return this.#away(method, details, error);
    return new TsError(kind, `snapshotter ${this.name}: ${method}: ${details}`, { cause: error });
  }
}

function metadataOf(namespace: string): Metadata {
  const metadata = new Metadata();
  metadata.set('containerd-namespace', namespace);
  return metadata;
}
