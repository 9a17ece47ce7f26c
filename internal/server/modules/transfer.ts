import { Streaming } from '../../api/generated/containerd.services.streaming.v1.ts';
import { Transfer } from '../../api/generated/containerd.services.transfer.v1.ts';
import type { ConfigFile } from '../../config/index.ts';
import { TsError } from '../../errors/index.ts';
import { ImageTransfer, type TransferLimits } from '../../images/image-transfer.ts';
import { DEFAULT_PARALLEL, type ParallelOptions } from '../../images/parallel-body.ts';
import { endAbandonedWork } from '../../images/work-lease.ts';
import { grpcService } from '../../services/context.ts';
import { StreamManager } from '../../services/stream-manager.ts';
import { streamingService } from '../../services/streaming.ts';
import { transferService } from '../../services/transfer.ts';
import type { Core } from '../core.ts';
import type { DaemonModule } from '../module.ts';
import { registryDefaults } from '../registry-tables.ts';

const TRANSFER = 'io.containerd.transfer.v1';

/** Layers of one image that are moved at once (containerd's default). */
const DEFAULT_CONCURRENCY = 3;

/** A request for less costs more than it fetches. */
const LEAST_PART_BYTES = 64 * 1024;

/** The namespace of Kubernetes' images and containers. */
const KUBERNETES = 'k8s.io';

/** Pull, push, import, export and tag, and the streams that they use. */
export function openTransfer(core: Core): DaemonModule {
  const differ = core.differs.get('walking');
  if (differ === undefined) {
    throw new TsError('Internal', 'internal error: transfer opened before the differ');
  }
  const { content, leases, images, snapshotters } = core;
  const { discard_unpacked_layers, concurrent_layer_fetch_buffer } =
    core.config.plugins['io.containerd.cri.v1.images'];
  const options = core.config.plugins[`${TRANSFER}.local`];
  const partBytes = options.concurrent_layer_fetch_buffer || concurrent_layer_fetch_buffer;
  const limits: TransferLimits = {
    ...limitsOf(options),
    ...(partBytes > 0 ? { parallel: parallelBy(partBytes) } : {}),
    // It is said of Kubernetes' images alone.
    discardsLayers: ({ namespace }) => discard_unpacked_layers && namespace === KUBERNETES,
  };
  const registries = registryDefaults(core.config.plugins);
  const transfer = new ImageTransfer({ content, leases, images, snapshotters, differ }, limits);
  core.transfer = transfer;
  const streams = new StreamManager();
  const logLine = (line: string): void => core.log.info({}, line);
  return {
    plugins: [
      { type: 'io.containerd.streaming.v1', id: 'manager' },
      {
        type: TRANSFER,
        id: 'local',
        requires: [
          'io.containerd.lease.v1',
          'io.containerd.metadata.v1',
          'io.containerd.differ.v1',
        ],
      },
      { type: 'io.containerd.grpc.v1', id: 'streaming', requires: ['io.containerd.streaming.v1'] },
      { type: 'io.containerd.grpc.v1', id: 'transfer', requires: [TRANSFER] },
    ],
    services: [
      grpcService(Streaming, streamingService(streams)),
      grpcService(Transfer, transferService(transfer, streams, registries, logLine)),
    ],
    async start() {
      const namespaces = core.namespaces.list().map(({ name }) => name);
      await endAbandonedWork(leases, namespaces);
    },
    waits: () => streams.names().map((name) => `stream ${name}`),
  };
}

function limitsOf(
  options: ConfigFile['plugins']['io.containerd.transfer.v1.local'],
): TransferLimits {
  const { max_concurrent_downloads, max_concurrent_uploaded_layers } = options;
  return {
    downloads: limitOf(max_concurrent_downloads),
    uploads: limitOf(max_concurrent_uploaded_layers),
  };
}

/** Parts of a layer as large as the configuration says, as soon as there are two of them. */
function parallelBy(partBytes: number): ParallelOptions {
  const bytes = Math.max(partBytes, LEAST_PART_BYTES);
  return { ...DEFAULT_PARALLEL, partBytes: bytes, fromBytes: 2 * bytes };
}

function limitOf(value: number): number {
  return value > 0 ? value : DEFAULT_CONCURRENCY;
}
