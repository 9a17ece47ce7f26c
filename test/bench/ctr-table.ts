// `ctr run --rm` of `true`: what a person at a terminal waits for, with the client's own start in it. Real ctr 2.1 against our
// daemon and against containerd, in turn.
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningDaemon, startDaemon, stopDaemon } from '../demo/daemon.ts';
import { importImage } from '../demo/image-import.ts';
import { cgroupName, removeWorkspace } from '../demo/workspace.ts';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { type BuiltImage, buildImage } from '../fixtures/oci-image.ts';
import { peer } from '../peers/index.ts';
import { measure, median, type Sample } from './measure.ts';
import { ms, table } from './report.ts';

const NAMESPACE = 'bench';
const OURS = 'io.containerd.tsrunc.v2';
const dist = join(import.meta.dirname, '../../dist/bin');

/** A daemon with a way to run containers. */
interface Subject {
  readonly name: string;
  readonly daemon: string;
  readonly runtime: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly skip: false | string;
}

function subjects(workspace: string): Subject[] {
  const original = peer('containerd-2.1');
  const inProcess = join(workspace, 'in-process.toml');
  writeFileSync(inProcess, 'InProcess = true\n');
  const ours = { daemon: join(dist, 'tscontainerd'), env: process.env, skip: false } as const;
  return [
    { ...ours, name: 'tscontainerd, tsrunc', runtime: ['--runtime', OURS] },
    {
      ...ours,
      name: 'tscontainerd, `InProcess`',
      runtime: ['--runtime', OURS, '--runtime-config-path', inProcess],
    },
    {
      name: 'containerd 2.1, runc 1.3',
      daemon: original.path,
      runtime: ['--runtime', 'io.containerd.runc.v2'],
      env: original.env,
      skip: original.skip,
    },
  ];
}

/** Measures and prints the table; a daemon that is not there gets a row that says so. */
export async function ctrTable(rounds: number): Promise<string> {
  const ctr = peer('ctr-2.1');
  const heading = ['`ctr run --rm` of `true`', 'wall', 'wall / containerd'];
  if (ctr.skip !== false) return table(heading, [[`ctr 2.1: ${ctr.skip}`, '', '']]);
  const workspace = mkdtempSync(join(tmpdir(), 'tscontainerd-bench-'));
  const image = await buildImage({
    name: 'bench.local/true:latest',
    layers: [busyboxRootfs().entries],
  });
  const daemons = new Map<string, Served>();
  try {
    const all = subjects(workspace).map((subject) => ({ ...subject, samples: [] as Sample[] }));
    const there = all.filter(({ skip }) => skip === false);
    for (const subject of there) {
      const { daemon } = subject;
      if (!daemons.has(daemon)) daemons.set(daemon, await serve(subject, image));
    }
    for (let round = 0; round <= rounds; round++) {
      for (const { daemon, runtime, samples } of there) {
        const served = daemons.get(daemon);
        if (served === undefined) continue;
        const id = `run-${round}-${samples.length}`;
        const sample = measure([
          ...[ctr.path, '--address', served.daemon.socket, '--namespace', NAMESPACE, 'run', '--rm'],
          ...[...runtime, '--cgroup', `/${cgroupName(served.workspace)}/${id}`],
          ...[image.name, id, '/bin/true'],
        ]);
        if (round > 0) samples.push(sample); // the first finds nothing in any cache
      }
    }
    const wallOf = (samples: readonly Sample[]) => median(samples.map(({ wallMs }) => wallMs));
    const mark = wallOf(all.at(-1)?.samples ?? []);
    const rows = all.map(({ name, skip, samples }) => {
      if (skip !== false) return [`${name}: ${skip}`, '', ''];
      return [name, ms(wallOf(samples)), (wallOf(samples) / mark).toFixed(2)];
    });
    return table(heading, rows);
  } finally {
    for (const { daemon, workspace: own } of daemons.values()) {
      await stopDaemon(daemon, 'SIGTERM');
      await removeWorkspace(own);
    }
    await removeWorkspace(workspace);
  }
}

interface Served {
  readonly daemon: RunningDaemon;
  readonly workspace: string;
}

async function serve({ daemon: program, env }: Subject, image: BuiltImage): Promise<Served> {
  const workspace = mkdtempSync(join(tmpdir(), 'tscontainerd-bench-'));
  const daemon = await startDaemon({ daemon: program, runtime: OURS, env }, workspace);
  using connection = new GrpcConnection(daemon.socket, NAMESPACE);
  await importImage(connection, image, 'overlayfs');
  return { daemon, workspace };
}
