/**
 * How a step lies in memory for the trampoline: a record of 64-bit words. Both trampolines
 * (trampoline-x64.ts, trampoline-arm64.ts) have these offsets in their machine code.
 *
 * Every argument word is the *address* of the argument's value: constants point to the record's own
 * literals, the result of an earlier step to the place where that step stored it. So the trampoline
 * needs no case distinction to pass results along.
 */
export const Word = {
  /** The system call's number, or one of {@link Special}. */
  number: 0,
  /** Six addresses of argument values. */
  arguments: 1,
  /** Where the result is stored, an error as its negated errno. */
  result: 7,
  /** 192 bits: bit N is set if errno N is tolerated. */
  tolerated: 8,
  /** Addresses of the record that follows when the result is 0, is positive, … */
  ifZero: 11,
  ifPositive: 12,
  /** … is an error of the bitmap, is any other error. */
  ifTolerated: 13,
  ifFailed: 14,
  /** The step's index in the program, for the report. */
  index: 15,
  /** Six constants that the argument words may point to. */
  literals: 16,
  /** Where the result goes if nobody wants it. */
  unwanted: 22,
} as const;

export const WORDS_PER_RECORD = 23;
export const BYTES_PER_WORD = 8;
export const ARGUMENTS = 6;
/** Errnos above this one cannot be tolerated; the kernel's greatest is 133 (EHWPOISON). */
export const GREATEST_TOLERABLE_ERRNO = 191;

/** Numbers that are no system calls. */
export const Special = {
  /** The trampoline returns to its caller. */
  end: -1,
  /** Compares (argument 0 & argument 1) with argument 2; if unequal the result is argument 3. */
  check: -2,
} as const;

/** Layout of the report that a failing step leaves: errno, index of the step, a value. */
export const REPORT_BYTES = 3 * BYTES_PER_WORD;
