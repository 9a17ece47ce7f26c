// Our shim and containerd's own, in turn under one containerd 2.1: each step of a container's life, exec by itself, the
// throughput of an output, and the memory of a shim with one idle container beside that of a program that does nothing.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type CgroupStatistics, locateCgroup } from '../../internal/cgroups/index.ts';
import { runBlocking } from '../../internal/linux/index.ts';
import { startDaemon, stopDaemon } from '../demo/daemon.ts';
import { listeningSockets } from '../demo/listening-sockets.ts';
import { liveProcesses, processInfo } from '../demo/process-tree.ts';
import { cgroupName, removeWorkspace } from '../demo/workspace.ts';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { makeFifo } from '../fixtures/fifo.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { writeRootfs } from '../fixtures/rootfs.ts';
import { peer } from '../peers/index.ts';
import { binaryOf, makeEmptyProgram } from './empty-program.ts';
import { measure, median, type Sample } from './measure.ts';
import { type Memory, memoryOf } from './memory.ts';
import { mb, ms, table } from './report.ts';
import { type BenchHost, cpuOf, type ShimPlan, ShimSubject, STEPS } from './shim-subject.ts';
import { measureGracePeriods, measureWarmCreates, type WarmSubject } from './warm-create.ts';

const bin = join(import.meta.dirname, '../../dist/bin');
const SHIM = 'containerd-shim-tsrunc-v2';
const EXECS = 50;
/** Execs of one shim before it is another's turn. */
const EXECS_IN_A_ROW = 5;
const OUTPUT_MIB = 256;
const OUTPUT_ROUNDS = 3;
/** As in the table of memory. */
const IDLE_MS = 5_000;
/** Pages of a program that runs once are its own, of one that runs several times shared: each runs as often. */
const COPIES = 3;

/** In the order of {@link plans}. */
const WARM_SUBJECTS: readonly WarmSubject[] = [
  { runtime: 'tsrunc' },
  { runtime: 'in-process' },
  { runtime: 'runc-1.3', original: 'containerd-shim-runc-v2-2.1' },
];

/** What one subject was measured at, beside the steps of its containers. */
interface Figures {
  readonly subject: ShimSubject;
  readonly startCommand: Sample[];
  readonly ctrExec: Sample[];
  /** Of the shim and its children alone. */
  execCpuMs: number;
  readonly outputMibPerSecond: number[];
  outputCpuMs: number;
  memory: Memory | undefined;
}

/** Measures and prints the tables. */
export async function shimTable(rounds: number): Promise<string> {
  const needed = ['containerd-2.1', 'ctr-2.1', 'runc-1.3'] as const;
  const missing = needed.map((name) => peer(name).skip).find((skip) => skip !== false);
  if (missing !== undefined) return `Shims under containerd 2.1: ${missing}.`;
  const workspace = mkdtempSync(join(tmpdir(), 'tscontainerd-bench-'));
  try {
    const cgroup = locateCgroup({ id: '', cgroupsPath: `/${cgroupName(workspace)}/daemon` });
    runBlocking(cgroup.create({}));
    const original = peer('containerd-2.1');
    const env = { ...original.env, PATH: `${bin}:${original.env['PATH'] ?? ''}` };
    const daemon = await startDaemon({ daemon: original.path, runtime: '', env }, workspace);
    runBlocking(cgroup.join(daemon.pid));
    using connection = new GrpcConnection(daemon.socket, 'bench');
    const rootfs = join(workspace, 'rootfs');
    mkdirSync(rootfs);
    writeRootfs(rootfs, busyboxRootfs().entries);
    const cpuMs = () => cpuTimeMs(cgroup.statistics());
    const host = { connection, rootfs, cgroup: `/${cgroupName(workspace)}`, cpuMs };
    const all = plans(workspace, original.env).map((plan) => figuresOf(plan, host));
    await measureSteps(all, rounds);
    for (const figures of all) measureStart(figures, workspace, rounds);
    await measureMemory(all);
    await measureRunning(all, { workspace, socket: daemon.socket });
    const empty = await idleProgram(workspace);
    await stopDaemon(daemon, 'SIGTERM');
    const warm = {
      creates: await measureWarmCreates(WARM_SUBJECTS, rounds),
      graceMs: median(await measureGracePeriods(rounds)),
    };
    return report(all, warm, empty, rounds);
  } finally {
    await removeWorkspace(workspace);
  }
}

function plans(workspace: string, env: NodeJS.ProcessEnv): ShimPlan[] {
  const tsrunc = join(bin, 'tsrunc');
  const original = (env['PATH'] ?? '')
    .split(':')
    .map((directory) => join(directory, 'containerd-shim-runc-v2'))
    .find((path) => existsSync(path));
  if (original === undefined) throw new Error('containerd-shim-runc-v2 is not with its containerd');
  const ours = { runtime: 'io.containerd.tsrunc.v2', shim: join(bin, SHIM) };
  return [
    { name: 'tsrunc-v2', ...ours, binary: tsrunc, isInProcess: false },
    { name: 'tsrunc-v2 in-process', ...ours, binary: tsrunc, isInProcess: true },
    {
      name: 'runc-v2',
      runtime: 'io.containerd.runc.v2',
      shim: original,
      binary: peer('runc-1.3').path,
      isInProcess: false,
    },
  ].map((plan, index) => ({ ...plan, root: join(workspace, `runtime-${index}`) }));
}

function figuresOf(plan: ShimPlan, host: BenchHost): Figures {
  return {
    subject: new ShimSubject(plan, host),
    startCommand: [],
    ctrExec: [],
    execCpuMs: 0,
    outputMibPerSecond: [],
    outputCpuMs: 0,
    memory: undefined,
  };
}

async function measureSteps(all: readonly Figures[], rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (const [index, { subject }] of all.entries()) {
      const id = `life-${index}-${round}`;
      await subject.begin(id);
      await subject.end(id);
    }
  }
}

/** The command `start` by itself; what it has started is ended again, which has no task yet. */
function measureStart({ subject, startCommand }: Figures, workspace: string, rounds: number): void {
  const bundle = join(workspace, `bundle-${subject.plan.root.at(-1)}`);
  mkdirSync(bundle);
  writeFileSync(join(bundle, 'config.json'), '{}');
  const before = process.cwd();
  process.chdir(bundle);
  try {
    for (let round = 0; round < rounds; round++) {
      const id = `start-${round}`;
      const flags = ['-namespace', 'bench', '-address', join(workspace, 'none.sock'), '-id', id];
      startCommand.push(measure([subject.plan.shim, ...flags, 'start']));
      for (const { pid, arguments: args } of liveProcesses()) {
        if (args[0] === subject.plan.shim && args.includes(id)) endShim(pid);
      }
    }
  } finally {
    process.chdir(before);
  }
}

function endShim(pid: number): void {
  const sockets = listeningSockets(pid);
  process.kill(pid, 'SIGKILL');
  for (const socket of sockets) rmSync(socket, { force: true });
}

/** One container of each, beside each other. */
async function measureRunning(
  all: readonly Figures[],
  { workspace, socket }: { workspace: string; socket: string },
): Promise<void> {
  const shims: number[] = [];
  for (const [index, { subject }] of all.entries()) {
    const pid = await subject.begin(`running-${index}`);
    shims.push(processInfo(pid)?.parent ?? 0);
  }
  const eachInTurn = async (work: (figures: Figures, id: string, shim: number) => unknown) => {
    for (const [index, figures] of all.entries()) {
      await work(figures, `running-${index}`, shims[index] ?? 0);
    }
  };
  for (let done = 0; done < EXECS; done += EXECS_IN_A_ROW) {
    await eachInTurn(async (figures, id, shim) => {
      const before = cpuOf(shim);
      for (let n = 0; n < EXECS_IN_A_ROW; n++) await figures.subject.exec(id, ['/bin/true']);
      figures.execCpuMs += (cpuOf(shim) - before) / EXECS;
    });
  }
  const ctr = [peer('ctr-2.1').path, '--address', socket, '--namespace', 'bench', 'tasks', 'exec'];
  for (let n = 0; n < EXECS; n++) {
    await eachInTurn(({ ctrExec }, id) => {
      ctrExec.push(measure([...ctr, '--exec-id', `ctr-${n}`, id, '/bin/true']));
    });
  }
  // containerd's shim wants both outputs or none.
  const fifos = { stdout: makeFifo(workspace, 'stdout'), stderr: makeFifo(workspace, 'stderr') };
  for (let n = 0; n < OUTPUT_ROUNDS; n++) {
    await eachInTurn((figures, id, shim) => measureOutput(figures, id, shim, fifos));
  }
  await eachInTurn(({ subject }, id) => subject.end(id));
}

async function measureOutput(
  figures: Figures,
  id: string,
  shim: number,
  fifos: { readonly stdout: string; readonly stderr: string },
): Promise<void> {
  // containerd's shim opens both outputs for writing alone, and waits for their readers.
  const readers = Object.values(fifos).map((fifo) => {
    return once(spawn('cat', [fifo], { stdio: ['ignore', 'ignore', 'inherit'] }), 'exit');
  });
  const before = cpuOf(shim);
  const startMs = performance.now();
  const args = ['/bin/dd', 'if=/dev/zero', 'bs=65536', `count=${OUTPUT_MIB * 16}`];
  await figures.subject.run(id, args, fifos);
  await Promise.all(readers);
  const seconds = (performance.now() - startMs) / 1000;
  figures.outputMibPerSecond.push(OUTPUT_MIB / seconds);
  figures.outputCpuMs += (cpuOf(shim) - before) / OUTPUT_ROUNDS;
}

/** Memory of the shims of idle containers. */
async function measureMemory(all: readonly Figures[]): Promise<void> {
  for (const [index, figures] of all.entries()) {
    const ids = Array.from({ length: COPIES }, (_, copy) => `idle-${index}-${copy}`);
    const shims: number[] = [];
    for (const id of ids) shims.push(processInfo(await figures.subject.begin(id))?.parent ?? 0);
    await delay(IDLE_MS);
    figures.memory = middle(shims.map(memoryOf));
    for (const id of ids) await figures.subject.end(id);
  }
}

function middle(of: readonly Memory[]): Memory {
  const pick = (key: keyof Memory) => median(of.map((memory) => memory[key]));
  const [pssKb, privateKb, dirtyKb] = [pick('pssKb'), pick('privateKb'), pick('dirtyKb')];
  return { pssKb, privateKb, dirtyKb, threads: pick('threads') };
}

/** Memory of a program of the same Node, with the same options, that does nothing. */
async function idleProgram(workspace: string): Promise<Memory> {
  const path = join(workspace, 'empty');
  makeEmptyProgram(binaryOf(SHIM), path, 'setInterval(() => {}, 1e9);');
  const children = Array.from({ length: COPIES }, () => spawn(path, { stdio: 'ignore' }));
  await Promise.all(children.map((child) => once(child, 'spawn')));
  await delay(IDLE_MS);
  const memory = middle(children.map(({ pid }) => memoryOf(pid ?? 0)));
  for (const child of children) {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
  return memory;
}

function cpuTimeMs(statistics: CgroupStatistics): number {
  if (statistics.version === 1) return Number(statistics.cpu?.usage.total) / 1e6;
  return Number(statistics.cpu?.usageUsec) / 1e3;
}

/** Creates in shims that serve already, and how long a process waits that joins a cgroup. */
interface WarmFigures {
  readonly creates: readonly (readonly Sample[])[];
  readonly graceMs: number;
}

function report(all: readonly Figures[], warm: WarmFigures, empty: Memory, rounds: number): string {
  const cell = (samples: readonly Sample[]) => {
    const wall = median(samples.map(({ wallMs }) => wallMs));
    return `${ms(wall)} (${ms(median(samples.map(({ cpuMs }) => cpuMs)))})`;
  };
  /** Its processor time is in units of 10 ms, of which a median says nothing. */
  const coarseCell = (samples: readonly Sample[]) => {
    const wall = median(samples.map(({ wallMs }) => wallMs));
    const cpu = samples.reduce((sum, { cpuMs }) => sum + cpuMs, 0) / samples.length;
    return `${ms(wall)} (${ms(cpu)})`;
  };
  const row = (name: string, pick: (figures: Figures) => string) => [name, ...all.map(pick)];
  const names = all.map(({ subject }) => subject.plan.name);
  const memory = (pick: (of: Memory) => number) => (figures: Figures) =>
    mb(figures.memory === undefined ? 0 : pick(figures.memory));
  const steps = STEPS.map((step) =>
    row(`\`${step}\``, ({ subject }) => cell(subject.samples[step])),
  );
  return table(
    ['under containerd 2.1', ...names],
    [
      row("the shim's command `start`", ({ startCommand }) => cell(startCommand)),
      ...steps,
      [
        `Create alone, in a shim that serves already (to join cgroups alone: ${ms(warm.graceMs)})`,
        ...warm.creates.map(coarseCell),
      ],
      row('CPU of `exec`: shim and runtime alone', ({ execCpuMs }) => ms(execCpuMs)),
      row('`ctr tasks exec` (CPU of ctr)', ({ ctrExec }) => cell(ctrExec)),
      row(`stdout to a fifo, ${OUTPUT_MIB} MiB (CPU with the writer)`, (figures) => {
        const rate = median(figures.outputMibPerSecond).toFixed(0);
        return `${rate} MiB/s (${ms(figures.outputCpuMs)})`;
      }),
      row(
        'memory of the idle shim: PSS',
        memory(({ pssKb }) => pssKb),
      ),
      row(
        `… private (idle program: ${mb(empty.privateKb)})`,
        memory(({ privateKb }) => privateKb),
      ),
      row(`… threads (idle program: ${empty.threads})`, ({ memory }) => String(memory?.threads)),
    ],
  ).concat(`\n\nWall (CPU): medians of ${rounds} lives, ${EXECS} execs.`);
}
