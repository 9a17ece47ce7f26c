// One way to run a container under containerd: a shim, the runtime it uses and their options. Each operation is timed as
// a client of containerd's API sees it, and its processor time is that of the daemon, the shim and the runtime together.
import { existsSync, readFileSync } from 'node:fs';
import { packAny } from '../../internal/api/any.ts';
import { Options } from '../../internal/api/generated/containerd.runc.v1.ts';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import { Tasks } from '../../internal/api/generated/containerd.services.tasks.v1.ts';
import { Options as GenericOptions } from '../../internal/api/generated/runtimeoptions.v1.ts';
import { defaultSpec } from '../../internal/oci/index.ts';
import { formatJson } from '../../internal/oci/json.ts';
import type { GrpcConnection } from '../fixtures/grpc-client.ts';
import type { Sample } from './measure.ts';

const SPEC_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/';
const SIGKILL = 9;
/** Of a second: the unit of times in /proc/PID/stat. */
const TICKS = 100;

/** What is measured of a container's life. */
export const STEPS = ['create', 'start', 'exec', 'kill', 'delete'] as const;
export type Step = (typeof STEPS)[number];

export interface ShimPlan {
  readonly name: string;
  /** The name in containerd's API, and the file name of the shim that it stands for. */
  readonly runtime: string;
  readonly shim: string;
  readonly binary: string;
  /** The runtime's own state directory. */
  readonly root: string;
  readonly isInProcess: boolean;
}

export interface BenchHost {
  readonly connection: GrpcConnection;
  readonly rootfs: string;
  /** Parent of the containers' cgroups. */
  readonly cgroup: string;
  /** Processor time so far of the daemon and all that it started, containers excepted. */
  readonly cpuMs: () => number;
}

/** Streams of a process, by path. */
interface Stdio {
  readonly stdout?: string;
  readonly stderr?: string;
}

export class ShimSubject {
  readonly plan: ShimPlan;
  readonly samples: Record<Step, Sample[]> = {
    create: [],
    start: [],
    exec: [],
    kill: [],
    delete: [],
  };
  readonly #host: BenchHost;
  #execs = 0;

  constructor(plan: ShimPlan, host: BenchHost) {
    this.plan = plan;
    this.#host = host;
  }

  /** Creates and starts a container; returns the pid of its process. */
  async begin(id: string): Promise<number> {
    const { connection, rootfs, cgroup } = this.#host;
    const options = this.#options();
    await connection.service(Containers).create({
      container: {
        id,
        runtime: { name: this.plan.runtime, options },
        spec: {
          typeUrl: `${SPEC_TYPE}Spec`,
          value: Buffer.from(formatJson(containerSpec(`${cgroup}/${id}`))),
        },
      },
    });
    const tasks = connection.service(Tasks);
    const mounts = [{ type: 'bind', source: rootfs, options: ['rbind', 'ro'] }];
    await this.#timed('create', () => tasks.create({ containerId: id, rootfs: mounts }));
    const { pid } = await this.#timed('start', () => tasks.start({ containerId: id }));
    return pid;
  }

  /** Runs `args` in the container to its end: from the request to the deletion, as ctr does it. */
  async exec(id: string, args: readonly string[]): Promise<void> {
    await this.#timed('exec', () => this.run(id, args));
  }

  /** As {@link exec}, without a sample. */
  async run(id: string, args: readonly string[], stdio: Stdio = {}): Promise<void> {
    const tasks = this.#host.connection.service(Tasks);
    const execId = `exec-${++this.#execs}`;
    const value = Buffer.from(formatJson({ ...containerSpec('').process, args }));
    const spec = { typeUrl: `${SPEC_TYPE}Process`, value };
    await tasks.exec({ containerId: id, execId, spec, ...stdio });
    const ended = tasks.wait({ containerId: id, execId });
    ended.catch(() => undefined); // awaited below, unless the start fails first
    await tasks.start({ containerId: id, execId });
    const { exitStatus } = await ended;
    if (exitStatus !== 0) throw new Error(`${args.join(' ')} exited with ${exitStatus}`);
    await tasks.deleteProcess({ containerId: id, execId });
  }

  /** Kills and deletes the container; its shim leaves. */
  async end(id: string): Promise<void> {
    const { connection } = this.#host;
    const tasks = connection.service(Tasks);
    await this.#timed('kill', async () => {
      const ended = tasks.wait({ containerId: id });
      await tasks.kill({ containerId: id, signal: SIGKILL });
      await ended;
    });
    await this.#timed('delete', () => tasks.delete({ containerId: id }));
    await connection.service(Containers).delete({ id });
  }

  #options() {
    const { binary, root, isInProcess } = this.plan;
    if (!isInProcess) return packAny(Options, { binaryName: binary, root });
    const table = `InProcess = true\nBinaryName = "${binary}"\nRoot = "${root}"\n`;
    return packAny(GenericOptions, { configBody: Buffer.from(table) });
  }

  async #timed<T>(step: Step, operation: () => Promise<T>): Promise<T> {
    const cpuBefore = this.#host.cpuMs();
    const startMs = performance.now();
    const result = await operation();
    const wallMs = performance.now() - startMs;
    this.samples[step].push({ wallMs, cpuMs: this.#host.cpuMs() - cpuBefore });
    return result;
  }
}

function containerSpec(cgroupsPath: string) {
  const spec = defaultSpec(existsSync('/sys/fs/cgroup/cgroup.controllers'));
  const args = ['/bin/sleep', '1000'];
  return {
    ...spec,
    process: { ...spec.process, terminal: false, args, rlimits: [] },
    linux: { ...spec.linux, cgroupsPath },
  };
}

/** Processor time of a process and of those that it has waited for. */
export function cpuOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return (ticks * 1000) / TICKS;
}
