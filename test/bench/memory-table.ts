// Memory of a daemon without a container, and of it and the shims with fifty idle ones, as a full node has them.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Tasks } from '../../internal/api/generated/containerd.services.tasks.v1.ts';
import { type ContainerPlan, deleteContainer, startContainer } from '../demo/container.ts';
import { type Programs, startDaemon, stopDaemon } from '../demo/daemon.ts';
import { importImage } from '../demo/image-import.ts';
import { processInfo } from '../demo/process-tree.ts';
import { cgroupName, removeWorkspace } from '../demo/workspace.ts';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { buildImage } from '../fixtures/oci-image.ts';

import { peer } from '../peers/index.ts';
import { median } from './measure.ts';
import { type Memory, memoryOf } from './memory.ts';
import { mb, table } from './report.ts';

const CONTAINERS = 50;
/** What a process allocates for its first work is returned meanwhile, as far as it is returned at all. */
const IDLE_MS = 5_000;

const original = peer('containerd-2.1');
const subjects: { name: [string, string]; programs: Programs; skip: false | string }[] = [
  {
    name: ['tscontainerd', 'containerd-shim-tsrunc-v2'],
    programs: {
      daemon: join(import.meta.dirname, '../../dist/bin/tscontainerd'),
      runtime: 'io.containerd.tsrunc.v2',
      env: process.env,
    },
    skip: false,
  },
  {
    name: ['containerd 2.1', 'containerd-shim-runc-v2'],
    programs: { daemon: original.path, runtime: 'io.containerd.runc.v2', env: original.env },
    skip: original.skip,
  },
];

/** Measures and prints the table. */
export async function memoryTable(): Promise<string> {
  const rows: string[][] = [];
  for (const { name, programs, skip } of subjects) {
    if (skip !== false) {
      rows.push([`${name[0]}: ${skip}`, '', '', '', '']);
      continue;
    }
    const { alone, daemon, shims } = await measureIdle(programs);
    rows.push(row(`${name[0]}, no container`, [alone]));
    rows.push(row(`${name[0]}, ${CONTAINERS} containers`, [daemon]));
    rows.push(row(`${name[1]}, one of ${CONTAINERS}`, shims));
    rows.push(row(`both, ${CONTAINERS} containers`, [sum([daemon, ...shims])]));
  }
  return table(['memory', 'PSS', 'private', 'of it dirty', 'threads'], rows);
}

interface Idle {
  /** The daemon before the first container. */
  readonly alone: Memory;
  readonly daemon: Memory;
  readonly shims: readonly Memory[];
}

async function measureIdle(programs: Programs): Promise<Idle> {
  const workspace = mkdtempSync(join(tmpdir(), 'tscontainerd-bench-'));
  try {
    const daemon = await startDaemon(programs, workspace);
    const connection = new GrpcConnection(daemon.socket, 'bench');
    const image = await buildImage({
      name: 'bench.local/idle:latest',
      layers: [busyboxRootfs().entries],
    });
    const parent = await importImage(connection, image, 'overlayfs');
    await delay(IDLE_MS);
    const alone = memoryOf(daemon.pid);
    const pids: number[] = [];
    const plans: ContainerPlan[] = [];
    for (let number = 1; number <= CONTAINERS; number++) {
      const plan: ContainerPlan = {
        id: `idle-${number}`,
        image: image.name,
        snapshotter: 'overlayfs',
        parent,
        runtime: programs.runtime,
        args: ['/bin/sleep', '1000'],
        cgroupsPath: `/${cgroupName(workspace)}/idle-${number}`,
        workspace,
      };
      plans.push(plan);
      pids.push(await startContainer(connection, plan));
    }
    await delay(IDLE_MS);
    const shims = pids.map((pid) => memoryOf(processInfo(pid)?.parent ?? 0));
    const result = { alone, daemon: memoryOf(daemon.pid), shims };
    for (const plan of plans) {
      const tasks = connection.service(Tasks);
      const ended = tasks.wait({ containerId: plan.id });
      await tasks.kill({ containerId: plan.id, signal: 9 });
      await ended;
      await deleteContainer(connection, plan);
    }
    connection.close();
    await stopDaemon(daemon, 'SIGTERM');
    return result;
  } finally {
    await removeWorkspace(workspace);
  }
}

function sum(processes: readonly Memory[]): Memory {
  return processes.reduce((all, one) => ({
    pssKb: all.pssKb + one.pssKb,
    privateKb: all.privateKb + one.privateKb,
    dirtyKb: all.dirtyKb + one.dirtyKb,
    threads: all.threads + one.threads,
  }));
}

function row(name: string, processes: readonly Memory[]): string[] {
  const middle = (pick: (memory: Memory) => number) => median(processes.map(pick));
  return [
    name,
    mb(middle((memory) => memory.pssKb)),
    mb(middle((memory) => memory.privateKb)),
    mb(middle((memory) => memory.dirtyKb)),
    String(middle((memory) => memory.threads)),
  ];
}
