import { join } from 'node:path';
import { Containers } from '../../api/generated/containerd.services.containers.v1.ts';
import { Content } from '../../api/generated/containerd.services.content.v1.ts';
import { Diff } from '../../api/generated/containerd.services.diff.v1.ts';
import { Events } from '../../api/generated/containerd.services.events.v1.ts';
import type { Image } from '../../api/generated/containerd.services.images.v1.ts';
import { Images } from '../../api/generated/containerd.services.images.v1.ts';
import { Leases } from '../../api/generated/containerd.services.leases.v1.ts';
import { Snapshots } from '../../api/generated/containerd.services.snapshots.v1.ts';
import { Tasks } from '../../api/generated/containerd.services.tasks.v1.ts';
import { ImageService, RuntimeService } from '../../api/generated/runtime.v1.ts';
import type { ServiceType } from '../../api/service.ts';
import { durationMs } from '../../config/index.ts';
import { Cri } from '../../cri/cri.ts';
import { NAMESPACE } from '../../cri/cri-records.ts';
import { CriStreams } from '../../cri/cri-streams.ts';
import type { DaemonServices, PullRequest } from '../../cri/daemon-services.ts';
import { imageService } from '../../cri/image-service.ts';
import { registryCredentials } from '../../cri/registry-credentials.ts';
import { runtimeService } from '../../cri/runtime-service.ts';
import { TsError } from '../../errors/index.ts';
import type { PullOptions } from '../../images/image-transfer.ts';
import { withWorkLease } from '../../images/work-lease.ts';
import type { Scope } from '../../metadata/scope.ts';
import { hostPlatform, parseDigest } from '../../oci/index.ts';
import { grpcService } from '../../services/context.ts';
import { imageDetails } from '../../services/image-details.ts';
import { localClient } from '../../services/local-client.ts';
import { mountAll } from '../../snapshots/temporary-mount.ts';
import { streamCertificate } from '../../streaming/stream-certificate.ts';
import type { Core } from '../core.ts';
import type { DaemonModule } from '../module.ts';
import { VERSION } from '../version.ts';
import { criSettings } from './cri-settings.ts';
import { StreamsOnDemand } from './cri-stream-urls.ts';
import { PullWatch } from './pull-watch.ts';

const DEFAULT_HOST_DIR = '/etc/containerd/certs.d';

/** The CRI: what a kubelet speaks to, as a client of the daemon's own services. */
export function openCri(core: Core): DaemonModule {
  const settings = criSettings(core.config);
  const describe = (record: Image) => imageDetails(core.content, SCOPE, targetOf(record));
  const cri = new Cri(settings, servicesOf(core), describe, core.log);
  const streams = new StreamsOnDemand({
    ...settings.stream,
    certificate: streamCertificate(settings.stream.tls),
    backend: new CriStreams(cri),
    log: core.log,
  });
  return {
    plugins: [{ type: 'io.containerd.grpc.v1', id: 'cri', requires: ['io.containerd.service.v1'] }],
    services: [
      grpcService(
        RuntimeService,
        runtimeService(cri, { name: 'containerd', version: VERSION }, streams),
      ),
      grpcService(ImageService, imageService(cri)),
    ],
    start: () => cri.start(),
    async close() {
      await streams.close();
      await cri.close();
    },
  };
}

const SCOPE: Scope = { namespace: NAMESPACE };

function servicesOf(core: Core): DaemonServices {
  const client = <S extends ServiceType>(type: S) => {
    const service = core.services.get(type.typeName);
    if (service === undefined) {
      throw new TsError('Internal', `internal error: CRI opened before ${type.typeName}`);
    }
    return localClient({ type, handlers: service.handlers }, NAMESPACE);
  };
  const { tasks, transfer } = core;
  const options = core.config.plugins['io.containerd.cri.v1.images'];
  const { registry, image_pull_progress_timeout } = options;
  const pullOptions = {
    ...(options.max_concurrent_downloads > 0
      ? { downloads: options.max_concurrent_downloads }
      : {}),
    isSynced: options.image_pull_with_sync_fs,
  };
  const hostDir = registry.config_path || DEFAULT_HOST_DIR;
  if (tasks === undefined || transfer === undefined) {
    throw new TsError('Internal', 'internal error: CRI opened before tasks and transfer');
  }
  return {
    containers: client(Containers),
    content: client(Content),
    diff: client(Diff),
    events: client(Events),
    images: client(Images),
    leases: client(Leases),
    snapshots: client(Snapshots),
    tasks: client(Tasks),
    withLease: (work) =>
      withWorkLease(core.leases, SCOPE, ({ lease = '' }) =>
        work({ metadata: [['containerd-lease', lease]] }),
      ),
    pull: (request) => pull(transfer, hostDir, image_pull_progress_timeout, pullOptions, request),
    mount: mountAll,
    snapshotterRoot: (name) => join(core.config.root, `io.containerd.snapshotter.v1.${name}`),
    logs: {
      reopen: async (id) => (await tasks.logs(SCOPE, id)).reopen(),
      async *attach(id, streams, signal, onAttached) {
        yield* (await tasks.logs(SCOPE, id)).attach(streams, signal, onAttached);
      },
    },
  };
}

async function pull(
  transfer: NonNullable<Core['transfer']>,
  hostDir: string,
  progressTimeout: string,
  options: PullOptions,
  { reference, auth, snapshotter, signal }: PullRequest,
): Promise<void> {
  const platform = hostPlatform();
  using watch = new PullWatch(reference, durationMs(progressTimeout) ?? 0, progressTimeout);
  const pulling = transfer.pull(
    { ...SCOPE, signal: AbortSignal.any([signal, watch.signal]) },
    {
      reference,
      credentials: registryCredentials(auth, reference),
      headers: new Map(),
      hostDir,
      defaultScheme: '',
    },
    {
      name: reference,
      labels: new Map(),
      platforms: [platform],
      hasAllMetadata: false,
      manifestLimit: 1,
      names: [],
      unpacks: [{ platform, snapshotter }],
    },
    (event) => watch.event(event),
    options,
  );
  try {
    await pulling;
  } catch (thrown) {
    throw watch.signal.aborted ? watch.signal.reason : thrown; // rather than that it was cancelled
  }
}

function targetOf({ name, target }: Image) {
  if (target === undefined) throw new TsError('DataLoss', `image ${name}: no target`);
  const { mediaType, digest, size, annotations } = target;
  return {
    mediaType,
    digest: parseDigest(digest, `image ${name}`),
    sizeBytes: Number(size),
    annotations,
  };
}
