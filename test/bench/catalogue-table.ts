// How long a daemon takes to start and to list what it knows when that is a lot: a node with 500 containers and 200
// images. Ours and containerd in turn, each over its own data.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import { Images } from '../../internal/api/generated/containerd.services.images.v1.ts';
import { Version } from '../../internal/api/generated/containerd.services.version.v1.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { peer } from '../peers/index.ts';
import { median } from './measure.ts';
import { ms, table } from './report.ts';

const CONTAINERS = 500;
const IMAGES = 200;
const NAMESPACE = 'bench';
const STARTS = 10;

interface Subject {
  readonly name: string;
  readonly program: string;
  readonly env: NodeJS.ProcessEnv;
  readonly directory: string;
}

/** Measures and prints the table. */
export async function catalogueTable(rounds: number): Promise<string> {
  const work = mkdtempSync(join(tmpdir(), 'bench-catalogue-'));
  const original = peer('containerd-2.1');
  const subjects: Subject[] = [
    {
      name: 'tscontainerd',
      program: join(import.meta.dirname, '../../dist/bin/tscontainerd'),
      env: process.env,
      directory: join(work, 'ours'),
    },
  ];
  if (original.skip === false) {
    const { path, env } = original;
    subjects.push({ name: 'containerd 2.1', program: path, env, directory: join(work, 'theirs') });
  }
  try {
    const figures = subjects.map(() => ({
      start: [] as number[],
      containers: [] as number[],
      images: [] as number[],
    }));
    for (const subject of subjects) await fillCatalogue(subject);
    for (let round = 0; round < STARTS; round++) {
      for (const [index, subject] of subjects.entries()) {
        const figure = figures[index];
        if (figure === undefined) continue;
        await using daemon = await RunningDaemon.start(subject);
        figure.start.push(daemon.startMs);
        using connection = new GrpcConnection(daemon.address, NAMESPACE);
        const containers = connection.service(Containers);
        const images = connection.service(Images);
        for (let call = 0; call < Math.ceil(rounds / STARTS) + 1; call++) {
          const lists = await timed(() => containers.list({}));
          const named = await timed(() => images.list({}));
          if (call === 0) continue; // the connection is made, the code compiled
          figure.containers.push(lists);
          figure.images.push(named);
        }
      }
    }
    const rows = subjects.map(({ name }, index) => {
      const figure = figures[index];
      return [
        name,
        ms(median(figure?.start ?? [])),
        ms(median(figure?.containers ?? [])),
        ms(median(figure?.images ?? [])),
      ];
    });
    return table(
      [
        `with ${CONTAINERS} containers, ${IMAGES} images`,
        'start until it answers',
        'list containers',
        'list images',
      ],
      rows,
    );
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function timed(call: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await call();
  return performance.now() - startMs;
}

async function fillCatalogue(subject: Subject): Promise<void> {
  mkdirSync(subject.directory, { recursive: true });
  await using daemon = await RunningDaemon.start(subject);
  using connection = new GrpcConnection(daemon.address, NAMESPACE);
  const containers = connection.service(Containers);
  const images = connection.service(Images);
  // A spec of the size that ctr makes.
  const spec = {
    ociVersion: '1.2.0',
    process: { args: ['sleep', '1000'], env: ['A'.repeat(4000)] },
  };
  for (let index = 0; index < CONTAINERS; index++) {
    await containers.create({
      container: {
        id: `container-${index}`,
        image: `registry.example/app-${index % IMAGES}:1`,
        labels: [
          ['io.cri-containerd.kind', 'container'],
          ['app', `app-${index % IMAGES}`],
        ],
        runtime: { name: 'io.containerd.runc.v2' },
        spec: {
          typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec',
          value: Buffer.from(JSON.stringify(spec)),
        },
      },
    });
  }
  for (let index = 0; index < IMAGES; index++) {
    await images.create({
      image: {
        name: `registry.example/app-${index}:1`,
        labels: [['io.cri-containerd.image', 'managed']],
        target: {
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          digest: `sha256:${index.toString(16).padStart(64, '0')}`,
          size: 1000n,
        },
      },
    });
  }
}

class RunningDaemon implements AsyncDisposable {
  readonly address: string;
  readonly startMs: number;
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess, address: string, startMs: number) {
    this.#process = process;
    this.address = address;
    this.startMs = startMs;
  }

  static async start({ program, env, directory }: Subject): Promise<RunningDaemon> {
    const address = join(directory, 'grpc.sock');
    const config = join(directory, 'config.toml');
    const [root, state] = [join(directory, 'root'), join(directory, 'state')];
    // CRI would set up a network and more: neither has it here.
    writeFileSync(
      config,
      `version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]\n[plugins."io.containerd.internal.v1.opt"]\npath = "${directory}/opt"\n`,
    );
    const args = ['-c', config, '--root', root, '--state', state, '--address', address];
    const startedMs = performance.now();
    const child = spawn(program, args, { env, stdio: 'ignore' });
    while (!(await answers(address))) {
      if (child.exitCode !== null) throw new Error(`${program} does not start`);
      await delay(2); // there is no event for a socket that another process is about to open
    }
    using connection = new GrpcConnection(address, NAMESPACE);
    await connection.service(Version).version({});
    return new RunningDaemon(child, address, performance.now() - startedMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    await exited;
  }
}

function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(address);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
