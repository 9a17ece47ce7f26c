// Pods' lives through the CRI, on the host's network or on a bridge, one at a time or ten at once: our daemon, with the
// runtime as a program, inside of the shim, and that with a spare shim, beside containerd with runc, in turn. All of it
// happens in a network namespace of its own, so that the bridge touches nothing of the machine's.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ImageService,
  NamespaceMode,
  RuntimeService,
} from '../../internal/api/generated/runtime.v1.ts';
import type { ServiceClient } from '../../internal/api/service.ts';
import { pauseProgram } from '../../internal/linux/pause-program.ts';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { type DaemonKind, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { NetworkMachine, skipNetworks } from '../fixtures/network-machine.ts';
import { buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { peer } from '../peers/index.ts';
import { median } from './measure.ts';
import { ms, table } from './report.ts';

const binaries = join(import.meta.dirname, '../../dist/bin');
/** What containers run. */
export const IMAGE = 'example.test/library/busybox:1';
/** A pause image for containerd: the program that is built into our daemon, so that both start the same. */
export const PAUSE = 'example.test/library/pause:1';

const STEPS = ['run pod', 'create', 'start', 'exec', 'stop pod'] as const;
type Step = (typeof STEPS)[number];

interface Subject {
  readonly name: string;
  readonly kind: DaemonKind;
  readonly handler: string;
  readonly hasSpare?: boolean;
}

/** How the pods are run. */
export interface CriLoad {
  readonly network: 'host' | 'bridge';
  /** Pods at a time. */
  readonly atOnce: number;
  readonly rounds: number;
}

/** How long a daemon has before its next pod when it keeps a spare shim: pods come less often than that on a node. */
const SPARE_MS = 1_500;

const SUBJECTS: readonly Subject[] = [
  { name: 'tscontainerd, tsrunc as a program', kind: 'tscontainerd', handler: 'tsrunc' },
  { name: 'tscontainerd, `InProcess`', kind: 'tscontainerd', handler: 'inside' },
  {
    name: 'the same, and `spare_shim`',
    kind: 'tscontainerd',
    handler: 'inside',
    hasSpare: true,
  },
  { name: 'containerd 2.1, runc 1.3', kind: 'containerd-2.1', handler: 'runc' },
];

interface Node {
  readonly daemon: TestDaemon;
  readonly connection: GrpcConnection;
  readonly runtime: ServiceClient<typeof RuntimeService>;
}

/** Measures and prints the table. */
export async function criTable({ network, atOnce, rounds }: CriLoad): Promise<string> {
  const skip = [...SUBJECTS.map(({ kind }) => skipWithout(kind)), skipNetworks()].find(
    (reason) => reason !== false,
  );
  if (skip !== undefined) return `The CRI was not measured: ${skip}.`;
  const directory = mkdtempSync(join(tmpdir(), 'bench-cri-'));
  await using machine = await NetworkMachine.start(join(directory, 'network'));
  machine.writeNetwork('10-pods.conflist', { chained: [] });
  const nodes = new Map<string, Node>();
  try {
    for (const subject of SUBJECTS) {
      const key = nodeOf(subject);
      if (!nodes.has(key)) nodes.set(key, await startNode(subject, directory, machine));
    }
    const times = new Map(SUBJECTS.map(({ name }) => [name, new Map<Step, number[]>()]));
    for (let round = -1; round < rounds; round++) {
      for (const subject of SUBJECTS) {
        const node = nodes.get(nodeOf(subject));
        const seen = round < 0 ? new Map<Step, number[]>() : times.get(subject.name); // the first one warms up
        if (node === undefined || seen === undefined) continue;
        if (subject.hasSpare === true)
          await new Promise((resolve) => setTimeout(resolve, SPARE_MS));
        const lives = Array.from({ length: atOnce }, (_, index) => {
          const pod = { name: `${subject.handler}-${round}-${index}`, network, directory };
          return life(node, subject.handler, pod, seen);
        });
        await Promise.all(lives);
      }
    }
    const how = `CRI, ${network === 'host' ? 'host network' : 'bridge'}, ${atOnce === 1 ? 'one' : atOnce} at a time`;
    return print(`${how}: median, p99`, times);
  } finally {
    for (const { daemon, connection } of nodes.values()) {
      connection.close();
      await daemon[Symbol.asyncDispose]();
    }
    rmSync(directory, { recursive: true, force: true });
  }
}

const nodeOf = ({ kind, hasSpare = false }: Subject): string => `${kind} ${hasSpare}`;

async function startNode(
  { kind, hasSpare = false }: Subject,
  directory: string,
  machine: NetworkMachine,
): Promise<Node> {
  const inside = [
    '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.inside]',
    'runtime_type = "io.containerd.tsrunc.v2"',
    '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.inside.options]',
    'InProcess = true',
    '[plugins."io.containerd.runtime.v2.task"]',
    `spare_shim = ${hasSpare}`,
  ];
  const isOurs = kind === 'tscontainerd';
  const path = (isOurs ? process.env['PATH'] : peer(kind).env['PATH']) ?? '';
  const daemon = await TestDaemon.start(kind, {
    hasCri: true,
    wrapper: machine.wrapper,
    env: machine.env(isOurs ? `${binaries}:${path}` : path),
    ...(isOurs ? { program: join(binaries, 'tscontainerd') } : {}),
    config: [
      '[plugins."io.containerd.grpc.v1.cri"]',
      'restrict_oom_score_adj = true',
      `sandbox_image = "${PAUSE}"`,
      machine.criTable,
      ...(isOurs ? inside : []),
    ].join('\n'),
  });
  const connection = new GrpcConnection(daemon.address, 'k8s.io');
  await importPodImages(daemon, directory);
  await connection.service(ImageService).imageStatus({ image: { image: IMAGE } });
  return { daemon, connection, runtime: connection.service(RuntimeService) };
}

/** Brings the image of a container, {@link IMAGE}, and the one of pods into a daemon. */
export async function importPodImages(daemon: TestDaemon, directory: string): Promise<void> {
  const files = [{ path: 'pause', kind: 'file', mode: 0o755, content: pauseProgram() } as const];
  for (const [name, layer, config] of [
    [IMAGE, busyboxRootfs().entries, { Cmd: ['/bin/sh'] }],
    [PAUSE, files, { Entrypoint: ['/pause'] }],
  ] as const) {
    const file = join(directory, 'image.tar');
    mkdirSync(directory, { recursive: true });
    writeFileSync(
      file,
      await imageArchive(await buildImage({ name, layers: [layer], compression: 'none', config })),
    );
    const { status, stderr } = daemon.ctr('ctr-2.1', ['-n', 'k8s.io', 'images', 'import', file]);
    if (status !== 0) throw new Error(`${daemon.kind}: import ${name}: ${stderr}`);
  }
}

/** One pod with one container, from its beginning to its end. */
async function life(
  { runtime }: Node,
  runtimeHandler: string,
  pod: Pick<CriLoad, 'network'> & { readonly name: string; readonly directory: string },
  seen: Map<Step, number[]>,
): Promise<void> {
  const { name, network, directory } = pod;
  const mode = network === 'host' ? NamespaceMode.NODE : NamespaceMode.POD;
  const timed = async <T>(step: Step, call: () => Promise<T>): Promise<T> => {
    const startMs = performance.now();
    const result = await call();
    const list = seen.get(step) ?? [];
    list.push(performance.now() - startMs);
    seen.set(step, list);
    return result;
  };
  const config = {
    metadata: { name, namespace: 'bench', uid: name, attempt: 0 },
    logDirectory: join(directory, 'logs', name),
    linux: { securityContext: { namespaceOptions: { network: mode } } },
  };
  const { podSandboxId } = await timed('run pod', () =>
    runtime.runPodSandbox({ config, runtimeHandler }),
  );
  try {
    const container = {
      metadata: { name: 'main', attempt: 0 },
      image: { image: IMAGE },
      command: ['/bin/sleep', '1000'],
      logPath: 'main.log',
      linux: {},
    };
    const { containerId } = await timed('create', () =>
      runtime.createContainer({ podSandboxId, config: container, sandboxConfig: config }),
    );
    await timed('start', () => runtime.startContainer({ containerId }));
    await timed('exec', () => runtime.execSync({ containerId, cmd: ['/bin/true'], timeout: 60n }));
  } finally {
    await timed('stop pod', () => runtime.stopPodSandbox({ podSandboxId }));
    await runtime.removePodSandbox({ podSandboxId });
  }
}

function print(
  title: string,
  times: ReadonlyMap<string, ReadonlyMap<Step, readonly number[]>>,
): string {
  const theirs = sumOf(times.get('containerd 2.1, runc 1.3'));
  const rows = [...times].map(([name, steps]) => [
    name,
    ...STEPS.map(
      (step) => `${ms(median(steps.get(step) ?? []))}, ${ms(percentile99(steps.get(step) ?? []))}`,
    ),
    (sumOf(steps) / theirs).toFixed(2),
  ]);
  return table([title, ...STEPS, 'first three / containerd'], rows);
}

function sumOf(steps: ReadonlyMap<Step, readonly number[]> | undefined): number {
  return (['run pod', 'create', 'start'] as const).reduce(
    (sum, step) => sum + median(steps?.get(step) ?? []),
    0,
  );
}

/** The value that one in a hundred exceeds. */
export function percentile99(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? 0;
}
