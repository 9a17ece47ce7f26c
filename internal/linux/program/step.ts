import { Errno, type ErrnoName } from '../../errors/index.ts';
import type { SyscallName } from '../syscall-numbers.ts';
import { type Argument, explainArgument, type Field, type Result } from './argument.ts';

/**
 * One system call of a program. Steps are plain values: a function of internal/linux/steps makes
 * one, {@link Sequence.add} puts it into a program.
 */
export interface Step {
  /** Operation and object for people, the text of its error: `mount proc on /proc`. */
  readonly label: string;
  /** The system call; `check` and `end` are the trampoline's own. */
  readonly call: SyscallName | 'check' | 'end';
  /** Up to six. */
  readonly args: readonly Argument[];
}

/** How a program treats a step: its name, its errors, its result. */
export interface StepOptions {
  /** Replaces the step's own label, where the caller knows a path and the step only an fd. */
  label?: string;
  /** What to do if it fails, for the error. */
  advice?: string;
  /** Name of the result in explanations, such as `rootfs`. */
  as?: string;
  /** Errors that are as good as success: the program goes on. */
  tolerate?: ErrnoName | readonly ErrnoName[] | 'any';
  /** Errors after which the same step runs again, such as EINTR for a step that waits. */
  retryOn?: ErrnoName | readonly ErrnoName[];
  /** The word of a struct that takes the result. */
  into?: Field;
}

/**
 * Fails with `errno` unless the value under `mask` equals `equals`. It is how a program looks at what
 * an fd really is before it uses it, and how it tells end of file (a result of 0) from data.
 */
export function check(
  label: string,
  value: Field | Result,
  expectation: { mask?: Argument; equals: Argument; errno: ErrnoName },
): Step {
  const { mask = -1, equals, errno } = expectation;
  return { label, call: 'check', args: [value, mask, equals, -Errno[errno]] };
}

/** Fails with the error that an earlier, tolerated step had. */
export function failAs(label: string, result: Result): Step {
  return { label, call: 'check', args: [0, 0, 1, result] };
}

/** Fails, whatever happens. */
export function fail(label: string, errno: ErrnoName): Step {
  return { label, call: 'check', args: [0, 0, 1, -Errno[errno]] };
}

/** The step as C text: `mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV, NULL)`. */
export function explainStep(step: Step): string {
  const args = step.args.map(explainArgument);
  if (step.call !== 'check') return `${step.call}(${args.join(', ')})`;
  const [value, mask, expected] = args;
  return `check(${mask === '-1' ? value : `(${value} & ${mask})`} == ${expected})`;
}
