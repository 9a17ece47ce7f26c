// Each command of a container's life by itself: our runtime, runc, crun, and the empty program that is the floor of ours.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { peer } from '../peers/index.ts';
import { makeBundle } from './bundle.ts';
import { binaryOf, makeEmptyProgram } from './empty-program.ts';
import { measure, median, type Sample } from './measure.ts';
import { ms, table } from './report.ts';

const ours = join(import.meta.dirname, '../../dist/bin/tsrunc');
/** In the order in which a container goes through them. */
const COMMANDS = ['create', 'state', 'start', 'exec', 'kill', 'delete'] as const;
type Command = (typeof COMMANDS)[number];

const DEATH_DEADLINE_MS = 5_000;

interface Subject {
  readonly name: string;
  readonly path: string;
  readonly skip: false | string;
  readonly samples: Record<Command, Sample[]>;
  failure?: string;
}

/** Measures and prints the table; a runtime that cannot be measured gets a line that says so. */
export async function lifecycleTable(rounds: number): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'bench-life-'));
  try {
    const bundle = join(dir, 'bundle');
    makeBundle(bundle, ['/bin/sleep', '1000']);
    const empty = join(dir, 'empty');
    makeEmptyProgram(binaryOf('tsrunc'), empty);
    const floor: Sample[] = [];
    const subjects: Subject[] = [
      { name: 'tsrunc', path: ours, skip: existsSync(ours) ? false : 'not built' } as const,
      { name: 'runc 1.3', ...peer('runc-1.3') },
      { name: 'crun', ...peer('crun') },
    ].map(({ name, path, skip }) => ({ name, path, skip, samples: noSamples() }));
    for (let round = 0; round < rounds; round++) {
      floor.push(measure([empty]));
      for (const subject of subjects) {
        if (subject.skip !== false || subject.failure !== undefined) continue;
        try {
          await oneLife(subject, join(dir, subject.name.replace(' ', '-')), bundle, round);
        } catch (error) {
          subject.failure = error instanceof Error ? error.message : String(error);
        }
      }
    }
    const ready = subjects[0]?.skip === false ? readyNote(join(dir, 'ready'), bundle, rounds) : '';
    return [lifecycleReport(subjects, floor), ready].join('\n');
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function noSamples(): Record<Command, Sample[]> {
  return { create: [], state: [], start: [], exec: [], kill: [], delete: [] };
}

/** From create to delete; whatever fails, the container is deleted. */
async function oneLife(
  { path, samples }: Subject,
  state: string,
  bundle: string,
  round: number,
): Promise<void> {
  const id = `bench-${process.pid}-${round}`;
  const pidFile = `${state}.pid`;
  const take = (command: Command, ...args: string[]): void => {
    samples[command].push(measure([path, '--root', state, command, ...args]));
  };
  try {
    take('create', '--bundle', bundle, '--pid-file', pidFile, id);
    take('state', id);
    take('start', id);
    take('exec', id, '/bin/true');
    take('kill', id, 'KILL');
    await ended(Number(readFileSync(pidFile, 'latin1')));
    take('delete', id);
  } catch (error) {
    measure([path, '--root', state, 'delete', '--force', id]);
    throw error;
  }
}

/** How long it takes from the clone of a container's process until that waits for `start`, as `--trace` has it. */
function readyNote(state: string, bundle: string, rounds: number): string {
  const file = `${state}.trace`;
  const times = Array.from({ length: rounds }, (_, round) => {
    const id = `bench-ready-${process.pid}-${round}`;
    measure([ours, '--root', state, 'create', '--bundle', bundle, '--trace', file, id]);
    measure([ours, '--root', state, 'delete', '--force', id]);
    const [, atUs] = /^ *([0-9.]+) .*# announce ready$/m.exec(readFileSync(file, 'utf8')) ?? [];
    if (atUs === undefined) throw new Error(`${file}: nothing says that the process was ready`);
    return Number(atUs) / 1e3;
  });
  const version = existsSync('/sys/fs/cgroup/cgroup.controllers') ? 2 : 1;
  return `From the clone of the container's process until it waits for \`start\`, by \`--trace\`: ${ms(median(times))} (cgroup v${version}).`;
}

/** Waits until a process is gone or a zombie, which its new parent reaps some time later. */
async function ended(pid: number): Promise<void> {
  const deadline = Date.now() + DEATH_DEADLINE_MS;
  while (isAlive(pid)) {
    if (Date.now() > deadline) throw new Error(`process ${pid} lives on after SIGKILL`);
    await delay(1);
  }
}

function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false; // it is gone
  }
}

function lifecycleReport(subjects: readonly Subject[], floor: readonly Sample[]): string {
  const wall = (samples: readonly Sample[]) => median(samples.map((sample) => sample.wallMs));
  const cpu = (samples: readonly Sample[]) => median(samples.map((sample) => sample.cpuMs));
  const [own, runc, crun] = subjects;
  if (own === undefined || runc === undefined || crun === undefined) throw new Error('no subjects');
  const cell = ({ samples, skip, failure }: Subject, command: Command): string => {
    if (skip !== false || failure !== undefined) return '–';
    return `${ms(wall(samples[command]))} (${ms(cpu(samples[command]))})`;
  };
  const ratio = (command: Command, mark: readonly Sample[]): string => {
    return (wall(own.samples[command]) / wall(mark)).toFixed(2);
  };
  const rows = COMMANDS.map((command) => [
    `\`${command}\`${command === 'exec' ? ' of `true`' : ''}`,
    cell(own, command),
    cell(runc, command),
    cell(crun, command),
    ratio(command, runc.samples[command]),
    ratio(command, floor),
  ]);
  const heading = ['wall (CPU)', 'tsrunc', 'runc 1.3', 'crun', '/ runc 1.3', '/ empty'];
  const absent = subjects.flatMap(({ name, skip, failure }) => {
    const why = skip === false ? failure : skip;
    return why === undefined ? [] : [`${name}: ${why}`];
  });
  const note = `The empty program: ${ms(wall(floor))} (${ms(cpu(floor))}).`;
  return [table(heading, rows), [note, ...absent].join('\n')].join('\n\n');
}
