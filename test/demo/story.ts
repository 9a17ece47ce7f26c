// What happens in the demonstration, step by step, and what is said about it. Every sentence about the machine is
// checked before it is printed: a step that does not see what it tells about throws.
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import { Images } from '../../internal/api/generated/containerd.services.images.v1.ts';
import { Tasks } from '../../internal/api/generated/containerd.services.tasks.v1.ts';
import { Status } from '../../internal/api/generated/containerd.v1.types.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { buildImage } from '../fixtures/oci-image.ts';
import { hostRootfs } from '../fixtures/rootfs.ts';
import {
  type ContainerPlan,
  deleteContainer,
  execInContainer,
  outputOf,
  startContainer,
} from './container.ts';
import { type Programs, type RunningDaemon, startDaemon, stopDaemon } from './daemon.ts';
import { importImage } from './image-import.ts';
import { descendants, liveProcesses, processInfo } from './process-tree.ts';
import { cgroupName, traces } from './workspace.ts';

const NAMESPACE = 'demo';
const IMAGE = 'demo.local/hello:latest';
/** Counts until it is asked to stop, then ends with a status that nothing else would give. */
const EXIT_STATUS = 42;
const COUNTING = `echo "hello from $(hostname), I am process $$"
n=0
while [ ! -e /tmp/stop ]; do n=$((n+1)); echo "tick $n"; sleep 0.2; done
echo "asked to stop after tick $n"
exit ${EXIT_STATUS}`;

/** Runs all steps; throws at the first thing that is not as it should be, or when `signal` is aborted. */
export async function tellStory(
  programs: Programs,
  workspace: string,
  signal: AbortSignal,
): Promise<void> {
  const startMs = performance.now();
  let number = 0;
  const step = (title: string) => {
    signal.throwIfAborted();
    number++;
    say(`\n${number}. ${title}`);
  };
  const abort = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  abort.catch(() => undefined); // it is raced below; alone it must not end the process
  const run = <T>(work: Promise<T>): Promise<T> => Promise.race([work, abort]);

  say('A container through three programs: a daemon, a shim and a runtime.');
  step(`The daemon starts, with its socket and all its files in ${workspace}.`);
  let daemon = await run(startDaemon(programs, workspace));
  say(`   It is process ${daemon.pid} and says that its version is ${daemon.version}.`);
  let connection = new GrpcConnection(daemon.socket, NAMESPACE);

  step('An image is made from programs of this machine, and imported.');
  const host = hostRootfs();
  const image = await run(buildImage({ name: IMAGE, layers: [host.entries] }));
  const snapshotter = chooseSnapshotter(workspace);
  const parent = await run(importImage(connection, image, snapshotter));
  const { images } = await run(connection.service(Images).list({}));
  expect(images.length === 1 && images[0]?.name === IMAGE, 'the daemon lists the image');
  const what = host.isBusybox
    ? 'a static busybox'
    : `${host.programs.length} programs with libraries`;
  say(`   ${IMAGE} holds ${what}; unpacked by the ${snapshotter} snapshotter.`);

  step('A container is run from it.');
  const plan: ContainerPlan = {
    id: 'hello',
    image: IMAGE,
    snapshotter,
    parent,
    runtime: programs.runtime,
    runtimeBinary: programs.runtimeBinary,
    args: ['/bin/sh', '-c', COUNTING],
    cgroupsPath: `/${cgroupName(workspace)}/hello`,
    workspace,
  };
  const beforeMs = performance.now();
  const pid = await run(startContainer(connection, plan));
  const tookMs = performance.now() - beforeMs;
  await run(until('the container prints', () => ticks(workspace) >= 2));
  say(
    `   Its first process is ${pid} on this machine, started in ${tookMs.toFixed(0)} ms. It prints:`,
  );
  quote(outputOf(workspace, 'output').split('\n').slice(0, 3));

  step('These processes run now:');
  const shim = shimOf(pid);
  showTree(daemon, shim.pid);
  const names = [...descendants(shim.pid)].map(({ process }) => process.program);
  expect(!names.includes('tsrunc') && !names.includes('runc'), 'the runtime has ended');
  expect(
    liveProcesses().every(
      (p) => !p.program.startsWith('tsrunc') || !p.arguments.some((a) => a.includes(workspace)),
    ),
    'no tsrunc runs',
  );
  say(
    '   The runtime is not among them: it made the container and ended. The shim is the parent now.',
  );

  step('A second process is started inside the container (exec).');
  const inside = await run(
    execInContainer(connection, plan, 'look', [
      '/bin/sh',
      '-c',
      'echo "I see the processes: $(cd /proc; echo [0-9]*)"; echo "and the files: $(echo /*)"',
    ]),
  );
  expect(inside.status === 0, `exec ends with status 0: ${inside.output}`);
  expect(inside.output.includes('processes: 1 '), 'the container has its own process ids');
  quote(inside.output.trim().split('\n'));

  step('The daemon is killed with SIGKILL, as if it had crashed.');
  connection.close();
  await run(stopDaemon(daemon, 'SIGKILL'));
  expect(processInfo(daemon.pid) === undefined, 'the daemon is gone');
  const atDeath = ticks(workspace);
  await run(until('the container counts on', () => ticks(workspace) >= atDeath + 3));
  expect(processInfo(pid) !== undefined && processInfo(shim.pid) !== undefined, 'both live on');
  say(
    `   The container lives on: it was at tick ${atDeath} and is at tick ${ticks(workspace)} without a daemon.`,
  );

  step('The daemon is started again.');
  daemon = await run(startDaemon(programs, workspace));
  connection = new GrpcConnection(daemon.socket, NAMESPACE);
  const tasks = connection.service(Tasks);
  const { process: found } = await run(tasks.get({ containerId: plan.id }));
  expect(found?.pid === pid && found.status === Status.RUNNING, 'the task is found, running');
  expect(shimOf(pid).pid === shim.pid, 'the shim is the same process');
  say(
    `   It is process ${daemon.pid}, it has found shim ${shim.pid} again, and container "hello" is running as ${pid}.`,
  );

  step('The container is asked to stop, through the new daemon, and its exit status is collected.');
  const ended = tasks.wait({ containerId: plan.id });
  ended.catch(() => undefined); // awaited below
  const asked = await run(execInContainer(connection, plan, 'ask', ['/bin/touch', '/tmp/stop']));
  expect(asked.status === 0, `exec ends with status 0: ${asked.output}`);
  const { exitStatus } = await run(ended);
  expect(exitStatus === EXIT_STATUS, `the exit status is ${EXIT_STATUS}, not ${exitStatus}`);
  quote(outputOf(workspace, 'output').trim().split('\n').slice(-1));
  say(`   It ended with status ${exitStatus}, as its script says.`);

  step('Everything is removed.');
  await run(deleteContainer(connection, plan));
  await run(connection.service(Images).delete({ name: IMAGE, sync: true }));
  const { containers } = await run(connection.service(Containers).list({}));
  expect(containers.length === 0, 'no container is listed');
  await run(until('the shim ends', () => processInfo(shim.pid) === undefined));
  connection.close();
  await run(stopDaemon(daemon, 'SIGTERM'));
  const left = traces(workspace);
  expect(left.processes.length === 0, `no process is left: ${left.processes}`);
  expect(left.mounts.length === 0, `nothing is mounted: ${left.mounts}`);
  say('   No process and no mount is left; the private directory and cgroup are deleted last.');

  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  say(`
What was seen, in ${seconds} s: an image was imported and unpacked; a container ran from it in namespaces of its own; the
runtime that made it ended at once; the shim kept it alive, and its output, while the daemon was dead; a new daemon found
it and delivered its exit status; nothing was left behind.`);
}

function say(text: string): void {
  console.log(text);
}

function quote(lines: readonly string[]): void {
  for (const line of lines) say(`     | ${line}`);
}

function expect(isSo: boolean, what: string): void {
  if (!isSo) throw new Error(`not seen: ${what}`);
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(`not seen within 10 s: ${what}`);
    await delay(20);
  }
}

/** How far the container has counted, by its output. */
function ticks(workspace: string): number {
  return (outputOf(workspace, 'output').match(/^tick /gm) ?? []).length;
}

/** overlayfs, unless the kernel has none or the directory is itself on an overlay, which cannot be an upper layer. */
function chooseSnapshotter(workspace: string): string {
  if (!/\boverlay$/m.test(readFileSync('/proc/filesystems', 'utf8'))) return 'native';
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').trim().split('\n');
  const below = mounts
    .map((line) => ({ point: line.split(' ')[4] ?? '', type: line.split(' - ')[1]?.split(' ')[0] }))
    .filter(({ point }) => `${workspace}/`.startsWith(point === '/' ? '/' : `${point}/`))
    .sort((a, b) => a.point.length - b.point.length)
    .at(-1);
  return below?.type === 'overlay' ? 'native' : 'overlayfs';
}

function shimOf(pid: number): { pid: number } {
  const parent = processInfo(processInfo(pid)?.parent ?? 0);
  expect(
    parent?.program.startsWith('containerd-shim') === true,
    'the shim is the parent of the container',
  );
  return { pid: parent?.pid ?? 0 };
}

function showTree(daemon: RunningDaemon, shim: number): void {
  const role = (depth: number) => (depth === 1 ? 'the container' : 'started by it');
  const row = (indent: string, pid: number, what: string) => {
    // Called by the name it was started under: busybox is many programs.
    const name = processInfo(pid)?.arguments[0]?.split('/').at(-1) ?? '(ended)';
    say(`     ${`${indent}${name}`.padEnd(36)} ${String(pid).padStart(8)}   ${what}`);
  };
  row('', daemon.pid, 'the daemon');
  row('', shim, 'the shim');
  for (const { process, depth } of descendants(shim)) {
    row(`${'  '.repeat(depth - 1)}└─ `, process.pid, role(depth));
  }
}
