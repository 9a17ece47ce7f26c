// Run by killed-runtime.test.ts: tsrunc, which kills itself at a chosen point of a command, from the clone of a container's
// process on.
//
//   POINTS=FILE node killed-runtime.fixture.ts count|POINT early|settled ARGUMENT…
//
// A point is a file operation or a message from the child: just before it this process gets SIGKILL. `settled`: when the child
// has gone as far as it can without this process. `early`: before the child has done anything, which it does half a second
// later. `count` kills nothing, and writes into FILE what the points are. All of it is put in from here: tsrunc itself has no
// such thing.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { basename } from 'node:path';
import { main } from '../../cmd/tsrunc/command-line.ts';
import { Memory } from '../../internal/linux/program/argument.ts';
import type { Item } from '../../internal/linux/program/sequence.ts';
import type { Step } from '../../internal/linux/program/step.ts';
import { SyscallProgram } from '../../internal/linux/program/syscall-program.ts';

/** A child is as far as it can get when it sleeps that often, looked at in intervals. */
const SAME_LOOKS = 10;
const LOOK_MS = 5;

const [point = '', moment = '', ...args] = process.argv.slice(2);
const points: string[] = [];
let isArmed = false;
let depth = 0;

const CALLS = ['writeFileSync', 'renameSync', 'writeSync', 'rmSync', 'unlinkSync'] as const;
const original = { ...fs };
for (const name of CALLS) {
  // biome-ignore lint/suspicious/noExplicitAny: what it is given goes on unseen
  const call = original[name] as (...args: any[]) => unknown;
  Object.assign(fs, {
    [name](...given: unknown[]) {
      if (depth === 0)
        reach(typeof given[0] === 'number' ? 'go on' : `${name} ${basename(`${given[0]}`)}`);
      depth++; // Node's own may call each other
      try {
        return call(...given);
      } finally {
        depth--;
      }
    },
  });
}
syncBuiltinESMExports();

const { run, readReport } = SyscallProgram.prototype;
SyscallProgram.prototype.run = function () {
  const clone = this.main.items.find(({ child }) => child !== undefined);
  if (clone === undefined) return run.apply(this);
  if (moment === 'early') delay(clone);
  const result = run.apply(this);
  isArmed = true;
  reach('the clone');
  return result;
};
SyscallProgram.prototype.readReport = function (fd) {
  reach('a message of the child');
  return readReport.call(this, fd);
};

/** The child does nothing for half a second, before anything else. */
function delay({ child }: Item): void {
  const [first] = child?.body.items ?? [];
  if (first === undefined) throw new Error('a child without steps');
  const time = new Memory(
    16,
    () => '0.5 s',
    (view) => view.setBigInt64(8, 500_000_000n, true),
  );
  const step: Step = { label: 'be late', call: 'nanosleep', args: [time, 0] };
  Object.assign(first, { step });
}

function reach(name: string): void {
  if (!isArmed) return;
  points.push(name);
  if (String(points.length) !== point) return;
  if (moment === 'settled') settle();
  process.kill(process.pid, 'SIGKILL');
}

/** Waits until all children sleep. */
function settle(): void {
  for (let same = 0; same < SAME_LOOKS; ) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS);
    same = children().every(isAsleep) ? same + 1 : 0;
  }
}

function children(): string[] {
  const text = original.readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1');
  return text.split(' ').filter((pid) => pid !== '');
}

function isAsleep(pid: string): boolean {
  const stat = original.readFileSync(`/proc/${pid}/stat`, 'latin1');
  return /^[SZ]$/.test(stat.slice(stat.lastIndexOf(')') + 2).charAt(0));
}

process.exitCode = await main(args);
const file = process.env['POINTS'];
if (file !== undefined) original.writeFileSync(file, JSON.stringify(points));
