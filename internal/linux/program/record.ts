/**
 * How a step lies in memory for the trampoline: a record of 64-bit words. Both trampolines
 * (trampoline-x64.ts, trampoline-arm64.ts) have these offsets in their machine code.
 *
 * No word is an address that the trampoline follows: what lies elsewhere is given as its distance in
 * bytes from the beginning of the record. An argument word says where the argument's *value* is:
 * that of a constant in the record itself, that of an earlier step's result where that step stored
 * it. So results are passed along without any case distinction, and most words of all records are
 * the same (placement.ts fills them in at once).
 */
export const Word = {
  /** The system call's number, or one of {@link Special}. */
  number: 0,
  /** Six distances to argument values. */
  arguments: 1,
  /** Distance to where the result is stored, an error as its negated errno. */
  result: 7,
  /** 192 bits: bit N is set if errno N is tolerated. */
  tolerated: 8,
  /** Distances to the record that follows when the result is 0, is positive, … */
  ifZero: 11,
  ifPositive: 12,
  /** … is an error of the bitmap, is any other error. */
  ifTolerated: 13,
  ifFailed: 14,
  /** The step's index in the program, for the report. */
  index: 15,
  /** Six constants, the values of arguments that are known beforehand. */
  constants: 16,
  /** The step's result, unless a struct wants it. */
  ownResult: 22,
} as const;

/** Size of a record in words. */
export const WORDS_PER_RECORD = 23;
/** Size of a word in bytes. */
export const BYTES_PER_WORD = 8;
/** Size of a record in bytes. */
export const BYTES_PER_RECORD: number = WORDS_PER_RECORD * BYTES_PER_WORD;
/** Arguments of a system call, at most. */
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
export const REPORT_BYTES: number = 3 * BYTES_PER_WORD;
