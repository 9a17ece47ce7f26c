// What waits for a disk that takes half a second for each sync: ContainerStatus of the CRI and reads of containerd's API,
// asked over and over while images are pulled and unpacked. Our daemon beside containerd.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import {
  ImageService,
  NamespaceMode,
  RuntimeService,
} from '../../internal/api/generated/runtime.v1.ts';
import { type DaemonKind, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { buildImage } from '../fixtures/oci-image.ts';
import { TestRegistry } from '../fixtures/registry.ts';
import { peer } from '../peers/index.ts';
import { IMAGE, importPodImages, PAUSE, percentile99 } from './cri-table.ts';
import { median } from './measure.ts';
import { ms, table } from './report.ts';

const KINDS: readonly DaemonKind[] = ['tscontainerd', 'containerd-2.1'];
const binaries = join(import.meta.dirname, '../../dist/bin');
const SYNC_DELAY_MS = 500;
const IMAGES = 1;
const LAYERS = 6;
const LAYER_BYTES = 2 << 20;
/** Between two rounds of calls. */
const PAUSE_MS = 10;

const CALLS = ['ContainerStatus', 'Containers.Get', 'ListContainers'] as const;
type Times = Readonly<Record<(typeof CALLS)[number], number[]>>;

/** Measures and prints the table. */
export async function slowDiskTable(): Promise<string> {
  const strace = peer('strace');
  const skip = [...KINDS.map(skipWithout), strace.skip].find((reason) => reason !== false);
  if (skip !== undefined) return `A slow disk was not measured: ${skip}.`;
  const directory = mkdtempSync(join(tmpdir(), 'bench-slow-disk-'));
  await using registry = await TestRegistry.start();
  try {
    const refs: string[] = [];
    for (let number = 0; number < IMAGES; number++) {
      const layers = Array.from({ length: LAYERS }, (_, layer) => {
        const content = randomBytes(LAYER_BYTES);
        return [{ path: `${number}-${layer}`, kind: 'file' as const, content }];
      });
      const image = await buildImage({ name: 'unused', layers });
      refs.push(registry.add(image, `bench/slow-${number}`));
    }
    const rows: string[][] = [];
    for (const kind of KINDS) {
      const { times, pullMs } = await measureDaemon(kind, refs, directory, strace.path);
      const of = (call: (typeof CALLS)[number]): string =>
        `${ms(median(times[call]))}, ${ms(percentile99(times[call]))}`;
      rows.push([kind, ...CALLS.map(of), String(times.ContainerStatus.length), ms(pullMs)]);
    }
    const title = `each sync ${SYNC_DELAY_MS} ms late, during pulls: median, p99`;
    return table([title, ...CALLS, 'rounds', 'a pull'], rows);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function measureDaemon(
  kind: DaemonKind,
  refs: readonly string[],
  directory: string,
  strace: string,
): Promise<{ times: Times; pullMs: number }> {
  const isOurs = kind === 'tscontainerd';
  const env = isOurs ? process.env : peer(kind).env;
  // -D: strace is not the parent of the daemon, which so gets our signals.
  const wrapper = [
    ...[strace, '-D', '-f', '-qq', '-o', '/dev/null', '--seccomp-bpf'],
    ...['-e', 'trace=fsync,fdatasync,syncfs'],
    ...['-e', `inject=fsync,fdatasync,syncfs:delay_exit=${SYNC_DELAY_MS * 1000}`],
  ];
  await using daemon = await TestDaemon.start(kind, {
    hasCri: true,
    wrapper,
    env: { PATH: `${isOurs ? `${binaries}:` : ''}${env['PATH'] ?? ''}` },
    ...(isOurs ? { program: join(binaries, 'tscontainerd') } : {}),
    config: [
      '[plugins."io.containerd.grpc.v1.cri"]',
      'restrict_oom_score_adj = true',
      `sandbox_image = "${PAUSE}"`,
    ].join('\n'),
  });
  await importPodImages(daemon, directory);
  using connection = new GrpcConnection(daemon.address, 'k8s.io');
  const runtime = connection.service(RuntimeService);
  const containers = connection.service(Containers);
  const sandboxConfig = {
    metadata: { name: 'slow', namespace: 'bench', uid: 'slow', attempt: 0 },
    linux: { securityContext: { namespaceOptions: { network: NamespaceMode.NODE } } },
  };
  const { podSandboxId } = await runtime.runPodSandbox({
    config: sandboxConfig,
    runtimeHandler: isOurs ? 'tsrunc' : 'runc',
  });
  try {
    const config = {
      metadata: { name: 'main', attempt: 0 },
      image: { image: IMAGE },
      command: ['/bin/sleep', '1000'],
      linux: {},
    };
    const created = await runtime.createContainer({ podSandboxId, config, sandboxConfig });
    const { containerId } = created;
    await runtime.startContainer({ containerId });
    const times: Times = { ContainerStatus: [], 'Containers.Get': [], ListContainers: [] };
    const timed = async (call: (typeof CALLS)[number], work: () => Promise<unknown>) => {
      const startMs = performance.now();
      await work();
      times[call].push(performance.now() - startMs);
    };
    const startMs = performance.now();
    let isDone = false;
    const pulls = pullAll(connection, refs).finally(() => {
      isDone = true;
    });
    while (!isDone) {
      await timed('ContainerStatus', () => runtime.containerStatus({ containerId }));
      await timed('Containers.Get', () => containers.get({ id: containerId }));
      await timed('ListContainers', () => runtime.listContainers({}));
      await delay(PAUSE_MS);
    }
    await pulls;
    return { times, pullMs: (performance.now() - startMs) / refs.length };
  } finally {
    await runtime.stopPodSandbox({ podSandboxId });
    await runtime.removePodSandbox({ podSandboxId });
  }
}

async function pullAll(connection: GrpcConnection, refs: readonly string[]): Promise<void> {
  for (const image of refs) {
    await connection.service(ImageService).pullImage({ image: { image } });
  }
}
