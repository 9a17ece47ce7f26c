import { type AnyMessage, packAny, unpackAny } from '../api/any.ts';
import type { Transfer } from '../api/generated/containerd.services.transfer.v1.ts';
import {
  ImageExportStream,
  ImageImportStream,
  ImageStore,
  OCIRegistry,
  Progress,
} from '../api/generated/containerd.types.transfer.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { TsError } from '../errors/index.ts';
import type { ImageTransfer } from '../images/image-transfer.ts';
import type { Scope } from '../metadata/scope.ts';
import type { ProgressEvent, ProgressSink } from '../registry/progress.ts';
import { receiveBytes, sendBytes } from './byte-stream.ts';
import type { GrpcContext } from './context.ts';
import { descriptorMessage } from './descriptor-message.ts';
import { type LogLine, type RegistryDefaults, registryOptions } from './registry-message.ts';
import { required } from './request.ts';
import type { NamedStream, StreamManager } from './stream-manager.ts';
import { imageTarget, platformOf } from './transfer-messages.ts';

/**
 * The transfer service: pull, push, import, export and tag, by the kinds of both ends. `registries`
 * is for what a client does not say itself, `log` for
 * what it wants to hear of requests and names no stream for.
 */
export function transferService(
  transfer: ImageTransfer,
  streams: StreamManager,
  registries: RegistryDefaults,
  log: LogLine,
): ServiceHandlers<typeof Transfer, GrpcContext> {
  return {
    async transfer({ source, destination, options }, { scope }) {
      const name = options?.progressStream ?? '';
      const progress = name === '' ? undefined : streams.get(scope, name);
      const sink = progressSink(progress);
      const ends = new TransferEnds(transfer, streams, scope, sink.emit, registries, log);
      try {
        await ends.run(required(source, 'source'), required(destination, 'destination'));
      } finally {
        // Clients take what was sent before the answer of this call for all there is.
        await sink.drained();
        progress?.close();
      }
      return {};
    },
  };
}

class TransferEnds {
  readonly #transfer: ImageTransfer;
  readonly #streams: StreamManager;
  readonly #scope: Scope;
  readonly #sink: ProgressSink;
  readonly #registries: RegistryDefaults;
  readonly #log: LogLine;

  constructor(
    transfer: ImageTransfer,
    streams: StreamManager,
    scope: Scope,
    sink: ProgressSink,
    registries: RegistryDefaults,
    log: LogLine,
  ) {
    this.#log = log;
    this.#transfer = transfer;
    this.#streams = streams;
    this.#scope = scope;
    this.#sink = sink;
    this.#registries = registries;
  }

  async run(from: AnyMessage, to: AnyMessage): Promise<void> {
    const store = unpackAny(to, ImageStore);
    const image = unpackAny(from, ImageStore);
    const archive = unpackAny(from, ImageImportStream);
    const registry = unpackAny(from, OCIRegistry);
    if (registry !== undefined && store !== undefined) return await this.#pull(registry, store);
    if (archive !== undefined && store !== undefined) return await this.#import(archive, store);
    if (image !== undefined) {
      const file = unpackAny(to, ImageExportStream);
      const remote = unpackAny(to, OCIRegistry);
      if (file !== undefined) return await this.#export(image, file);
      if (remote !== undefined) return await this.#push(image, remote);
      if (store !== undefined) {
        this.#transfer.tag(this.#scope, image.name, imageTarget(store));
        return;
      }
    }
    const text = `unable to transfer from ${from.typeUrl} to ${to.typeUrl}: not implemented`;
    throw new TsError('NotImplemented', text);
  }

  async #pull(from: OCIRegistry, to: ImageStore): Promise<void> {
    await using registry = registryOptions(
      from,
      this.#scope,
      this.#streams,
      this.#registries,
      this.#log,
    );
    await this.#transfer.pull(this.#scope, registry, imageTarget(to), this.#sink);
  }

  async #push(from: ImageStore, to: OCIRegistry): Promise<void> {
    await using registry = registryOptions(
      to,
      this.#scope,
      this.#streams,
      this.#registries,
      this.#log,
    );
    const platforms = from.platforms.map(platformOf);
    await this.#transfer.push(this.#scope, from.name, registry, platforms, this.#sink);
  }

  async #import(from: ImageImportStream, to: ImageStore): Promise<void> {
    const bytes = receiveBytes(this.#streams.get(this.#scope, from.stream));
    const options = { isCompressed: from.forceCompress };
    await this.#transfer.import(this.#scope, bytes, imageTarget(to), options, this.#sink);
  }

  async #export(from: ImageStore, to: ImageExportStream): Promise<void> {
    const stream = this.#streams.get(this.#scope, to.stream);
    const extra = from.extraReferences.filter(({ isPrefix }) => !isPrefix).map(({ name }) => name);
    const names = [from.name, ...extra].filter((name) => name !== '');
    try {
      const archive = await this.#transfer.export(this.#scope, names, {
        platforms: to.platforms.map(platformOf),
        hasAllPlatforms: to.allPlatforms,
        skipsDockerManifest: to.skipCompatibilityManifest,
        skipsForeignLayers: to.skipNonDistributable,
      });
      await sendBytes(stream, archive);
    } finally {
      stream.close();
    }
  }
}

/** Sends events to the client's progress stream, in order; nobody waits for a slow client. */
function progressSink(stream: NamedStream | undefined): {
  emit: ProgressSink;
  drained(): Promise<void>;
} {
  let last: Promise<void> = Promise.resolve();
  return {
    emit: (event) => {
      // A client that closed its progress stream wants no progress; the transfer goes on.
      if (stream !== undefined) last = stream.send(progressMessage(event)).catch(() => undefined);
    },
    drained: () => last,
  };
}

function progressMessage(event: ProgressEvent): AnyMessage {
  const { descriptor } = event;
  return packAny(Progress, {
    event: event.event,
    name: event.name,
    parents: event.parents,
    progress: BigInt(event.progressBytes),
    total: BigInt(event.totalBytes),
    desc: descriptor && descriptorMessage(descriptor),
  });
}
