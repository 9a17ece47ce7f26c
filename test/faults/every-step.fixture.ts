// Run by every-step.test.ts: lets each step of a program fail in turn, inside of this process, and looks at what is left.
//
//   node every-step.fixture.ts create|run|exec BUNDLE STATE-ROOT [ID OF THE CONTAINER FOR exec]
//
// A step that is to fail becomes one that has no effect but the error, as the kernel would have it. It is put into the
// program from here: tsrunc itself has nothing that could make it fail.
import {
  closeSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { main } from '../../cmd/tsrunc/command-line.ts';
import { Errno, type ErrnoName } from '../../internal/errors/index.ts';
import { setChildSubreaper, waitForChild } from '../../internal/linux/index.ts';
import type { Item, Sequence } from '../../internal/linux/program/sequence.ts';
import type { Step } from '../../internal/linux/program/step.ts';
import { SyscallProgram } from '../../internal/linux/program/syscall-program.ts';
import { Trace } from '../../internal/linux/trace.ts';

/** What one try came to. */
export interface Try {
  readonly step: number;
  readonly call: string;
  /** The errno that the step failed with; undefined where it must tolerate whatever happens. */
  readonly errno: ErrnoName | undefined;
  readonly status: number;
  /** Of the log. */
  readonly error: string;
  /** What the error has to be. */
  readonly expected: string;
  readonly leftovers: readonly string[];
}

/** Errors that a kernel may well give. */
const PLAUSIBLE: readonly ErrnoName[] = ['EIO', 'EPERM', 'ENOMEM', 'EINVAL', 'EBUSY'];

/** For a killed process. */
const DEATH_DEADLINE_MS = 2000;

const [command = '', bundle = '', stateRoot = '', container = ''] = process.argv.slice(2);
const id = command === 'exec' ? container : `every-step-${command}-${process.pid}`;
const log = join(stateRoot, `../${command}.log`);

/** All items of a program, in branches and children too. */
function* itemsOf(sequence: Sequence): Generator<Item> {
  for (const item of sequence.items) {
    yield item;
    for (const next of [item.ifSucceeded, item.ifTolerated, item.child?.body]) {
      if (next !== undefined) yield* itemsOf(next);
    }
  }
}

function isIn(names: string | readonly string[] | undefined, errno: ErrnoName): boolean {
  return names === 'any' || [names ?? []].flat().includes(errno);
}

function errnoFor({ index, options }: Item): ErrnoName | undefined {
  const free = PLAUSIBLE.filter(
    (errno) => !isIn(options.tolerate, errno) && !isIn(options.retryOn, errno),
  );
  return free[index % free.length];
}

let target: number | undefined;
let failing: { item: Item; errno: ErrnoName | undefined; call: string } | undefined;
const run = SyscallProgram.prototype.run;
SyscallProgram.prototype.run = function (...args) {
  const item = [...itemsOf(this.main)].find(({ index }) => index === target);
  if (item !== undefined && failing === undefined) {
    const errno = errnoFor(item);
    failing = { item, errno, call: item.step.call };
    const code = -Errno[errno ?? 'EIO'];
    const step: Step = { label: item.step.label, call: 'check', args: [0, 0, 1, code] };
    Object.assign(item, { step });
  }
  return run.apply(this, args);
};

async function runCommand(): Promise<number> {
  rmSync(log, { force: true });
  const global = ['--root', stateRoot, '--log', log, '--log-format', 'json'];
  const args = {
    create: ['create', '--bundle', bundle, id],
    run: ['run', '--bundle', bundle, id],
    exec: ['exec', id, 'true'],
  }[command];
  const status = await main([...global, ...(args ?? [])]);
  closeLog();
  return status;
}

/** It stays open until its process ends, and this one has many commands; the steps shall be the same in all of them. */
function closeLog(): void {
  for (const fd of readdirSync('/proc/self/fd')) {
    if (linkOf(fd)?.startsWith(log) === true) closeSync(Number(fd));
  }
}

function linkOf(fd: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined; // that of the directory itself
  }
}

function lastError(): string {
  try {
    const line = readFileSync(log, 'utf8').trim().split('\n').at(-1) ?? '';
    return (JSON.parse(line) as { msg: string }).msg;
  } catch {
    return ''; // no log: no error
  }
}

/** What this process has, and what there is of the container. */
function look(): string[] {
  const fds = readdirSync('/proc/self/fd').flatMap((fd) => {
    const path = linkOf(fd);
    return path === undefined ? [] : [`fd ${fd} ${path}`];
  });
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(join(bundle, '..')))
    .map((line) => `mount ${line}`);
  return [
    ...children().map((pid) => `process ${pid}`),
    ...fds,
    ...mounts,
    ...readdirSync(stateRoot).map((name) => `state ${name}`),
    ...cgroups.filter(isThere).map((path) => `cgroup ${path}`),
  ].sort();
}

function children(): number[] {
  return readdirSync('/proc/self/task').flatMap((task) =>
    [...readFileSync(`/proc/self/task/${task}/children`, 'utf8').matchAll(/\d+/g)].map(Number),
  );
}

/**
 * A child that has ended becomes init's when its parent, the command, has ended; this process goes on. One that was killed
 * gets a moment to end.
 */
function reapDead(): void {
  const deadline = performance.now() + DEATH_DEADLINE_MS;
  do {
    for (const pid of children()) {
      if (/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))) waitForChild(pid);
    }
  } while (children().length > 0 && performance.now() < deadline);
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

let cgroups: string[] = [];

/** Where cgroups of containers are, found out by making one. */
async function findCgroups(): Promise<void> {
  if (command === 'exec') return;
  const created = ['--root', stateRoot, 'create', '--bundle', bundle, id];
  if ((await main(created)) !== 0) throw new Error('the container cannot be made at all');
  const { cgroup_paths } = JSON.parse(readFileSync(join(stateRoot, id, 'state.json'), 'utf8'));
  cgroups = Object.values(cgroup_paths as Record<string, string>);
  await removeContainer();
}

async function removeContainer(): Promise<void> {
  await main(['--root', stateRoot, 'delete', '--force', id]);
  for (const pid of children()) waitForChild(pid); // it was a child of this process, as it is one of an engine
}

/** Indices of the steps that a run without failures makes. */
async function stepsThatRun(): Promise<number[]> {
  using trace = new Trace();
  const status = await runCommand();
  const steps = trace.steps();
  if (status !== 0) throw new Error(`${command}: ${lastError()}`);
  if (command === 'create') await removeContainer();
  return [...new Set(steps.map(({ item }) => item.index))].sort((a, b) => a - b);
}

async function tryStep(step: number, before: readonly string[]): Promise<Try> {
  target = step;
  failing = undefined;
  const status = await runCommand();
  target = undefined;
  if (failing === undefined) throw new Error(`there is no step ${step}`);
  const { item, errno, call } = failing as { item: Item; errno: ErrnoName; call: string };
  const error = lastError();
  if (status === 0 && command === 'create') await removeContainer();
  reapDead();
  const after = look();
  return {
    step,
    call,
    errno,
    status,
    error,
    expected: `${item.label}: ${errno ?? 'EIO'}`,
    leftovers: [
      ...after.filter((each) => !before.includes(each)).map((each) => `new: ${each}`),
      ...before.filter((each) => !after.includes(each)).map((each) => `gone: ${each}`),
    ],
  };
}

mkdirSync(stateRoot, { recursive: true });
setChildSubreaper(true); // whatever is orphaned is seen as a child of this process
await findCgroups();
const steps = await stepsThatRun();
const before = look();
const tries: Try[] = [];
for (const step of steps) tries.push(await tryStep(step, before));
process.stdout.write(JSON.stringify(tries));
