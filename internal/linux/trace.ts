/**
 * What the programs of this process really do, step by step, in all their processes: each step with its result and its
 * times, in the words of `explain`.
 */
import { errnoName } from '../errors/index.ts';
import type { Item, Sequence } from './program/sequence.ts';
import { explainStep } from './program/step.ts';
import { runProgramsBy, SyscallProgram, type Tracer } from './program/syscall-program.ts';
import { TraceArea, type TraceEvent } from './program/trace-area.ts';
import { runTracedRecords } from './program/traced-machine.ts';

/** Events of one program; a usual container has some 400. Steps that are tried again and again fill it at some time. */
const CAPACITY = 8192;

/** A step and who runs it. */
interface Actor {
  readonly item: Item;
  readonly process: string;
}

/** A step that ran, or runs. */
export interface TracedStep extends Actor {
  /** After the first step of all. */
  readonly startUs: number;
  /** Undefined: it has not ended, or never returns, as execve(2). */
  readonly durationUs: number | undefined;
  readonly result: bigint | undefined;
}

interface TracedProgram {
  readonly actors: ReadonlyMap<number, Actor>;
  readonly area: TraceArea;
}

/** Ticks of the processor's clock beside the time in nanoseconds. */
interface ClockReading {
  readonly ticks: bigint;
  readonly ns: bigint;
}

/** From when it is made until it is disposed, all programs of this process are traced. */
export class Trace implements Disposable {
  readonly #programs: TracedProgram[] = [];
  readonly #began: ClockReading;

  constructor() {
    this.#began = readClock();
    runProgramsBy({
      run: (main, firstRecord, report) => {
        const actors = new Map<number, Actor>();
        collectActors(main, 'runtime', actors);
        const area = new TraceArea(CAPACITY);
        this.#programs.push({ actors, area });
        runTracedRecords(firstRecord, report, area);
      },
    });
  }

  /** Grows with every step that begins or ends. */
  get eventCount(): number {
    return this.#programs.reduce((sum, { area }) => sum + area.count, 0);
  }

  /**
   * What has run so far, in the order of the beginnings; a step that failed is the last. Left out is what follows a
   * failure: that it is reported, and that the process ends.
   */
  steps(): TracedStep[] {
    const toUs = this.#clock();
    const steps = this.#programs.flatMap(({ actors, area }) => {
      return pairEvents(area.events(), actors, toUs);
    });
    const first = Math.min(...steps.map(({ startUs }) => startUs));
    return steps
      .map((step) => ({ ...step, startUs: step.startUs - first }))
      .sort((a, b) => Number(hasFailed(a)) - Number(hasFailed(b)) || a.startUs - b.startUs);
  }

  /** {@link steps} as text, a line each, below one that names the columns. */
  lines(): string[] {
    const rows = this.steps().map((step) => [
      step.startUs.toFixed(1),
      step.durationUs?.toFixed(1) ?? '-',
      step.process,
      describe(step),
    ]);
    const lost = this.#programs.reduce((sum, { area }) => sum + area.lost, 0);
    return [
      ...[HEADINGS, ...rows].map(([start = '', took = '', process = '', what = '']) => {
        return `${start.padStart(10)} ${took.padStart(10)}  ${process.padEnd(8)} ${what}`;
      }),
      ...(lost === 0 ? [] : [`(${lost} more events had no place)`]),
    ];
  }

  [Symbol.dispose](): void {
    runProgramsBy(undefined);
    for (const { area } of this.#programs.splice(0)) area[Symbol.dispose]();
  }

  /** Turns ticks into microseconds; the clock has a rate of its own on each machine. */
  #clock(): (ticks: bigint) => number {
    let now = readClock();
    while (now.ns - this.#began.ns < SHORTEST_MEASURE_NS) now = readClock();
    const ticks = Number(now.ticks - this.#began.ticks);
    const usPerTick = Number(now.ns - this.#began.ns) / 1000 / ticks;
    return (at) => Number(at - this.#began.ticks) * usPerTick;
  }
}

const HEADINGS = ['at µs', 'took µs', 'process', 'step'];

/** Two readings must be far enough from each other to tell the rate to a thousandth. */
const SHORTEST_MEASURE_NS = 2_000_000n;

function readClock(): ClockReading {
  using area = new TraceArea(1);
  const read: Tracer = { run: (_, first, report) => runTracedRecords(first, report, area) };
  const before = process.hrtime.bigint();
  new SyscallProgram().run(read)[Symbol.dispose]();
  const ns = (before + process.hrtime.bigint()) / 2n;
  return { ticks: area.events()[0]?.ticks ?? 0n, ns };
}

/** Every step that can be shown, by index; `end` and `failure` of a process cannot. */
function collectActors(sequence: Sequence, process: string, actors: Map<number, Actor>): void {
  for (const item of sequence.items) {
    actors.set(item.index, { item, process });
    const { ifSucceeded, ifTolerated, child, options } = item;
    for (const branch of [ifSucceeded, ifTolerated]) {
      if (branch !== undefined) collectActors(branch, process, actors);
    }
    if (child !== undefined) collectActors(child.body, options.as ?? 'child', actors);
  }
}

function pairEvents(
  events: readonly TraceEvent[],
  actors: ReadonlyMap<number, Actor>,
  toUs: (ticks: bigint) => number,
): TracedStep[] {
  const steps: TracedStep[] = [];
  const open = new Map<number, number>();
  for (const { index, hasEnded, result, ticks } of events) {
    const actor = actors.get(index);
    if (actor === undefined) continue;
    if (!hasEnded) {
      open.set(index, steps.length);
      const startUs = toUs(ticks);
      steps.push({ ...actor, startUs, durationUs: undefined, result: undefined });
      continue;
    }
    if (actor.item.child !== undefined && result === 0n) continue; // the new child comes from clone, too
    const place = open.get(index);
    const begun = place === undefined ? undefined : steps[place];
    if (place === undefined || begun === undefined) continue;
    steps[place] = { ...begun, durationUs: toUs(ticks) - begun.startUs, result };
  }
  return steps;
}

/** How the trampoline judges the result of a step. */
function judge({ item, result }: TracedStep): 'ok' | 'tolerated' | 'again' | 'failed' | undefined {
  if (result === undefined) return undefined;
  if (result >= 0n) return 'ok';
  const errno = errnoName(Number(-result));
  const { tolerate = [], retryOn = [] } = item.options;
  const isIn = (names: string | readonly string[]) =>
    names === 'any' || [names].flat().includes(errno);
  if (isIn(retryOn)) return 'again';
  return isIn(tolerate) ? 'tolerated' : 'failed';
}

function hasFailed(step: TracedStep): boolean {
  return judge(step) === 'failed';
}

/** `12 rootfs = openat2(…) -> 5  # open /rootfs`. */
function describe(step: TracedStep): string {
  const { item, result } = step;
  const { as } = item.options;
  const assignment = as === undefined ? '' : `${as} = `;
  const call = `${item.index} ${assignment}${explainStep(item.step)}`;
  return `${call} -> ${outcome(step, result)}  # ${item.label}`;
}

function outcome(step: TracedStep, result: bigint | undefined): string {
  if (result === undefined) return step.item.step.call === 'execve' ? '(executed)' : '(not ended)';
  if (result >= 0n) return String(result);
  const { [judge(step) ?? 'ok']: note } = NOTES;
  return `${errnoName(Number(-result))} (${note})`;
}

const NOTES = { ok: '', tolerated: 'tolerated', again: 'tried again', failed: 'failed' } as const;
