/**
 * Generates seccomp filters: classic BPF that searches the call's number by halves and then looks at
 * arguments (man 2 seccomp, linux/filter.h). For machines that store the low byte first.
 */
import type { SeccompCondition } from './libseccomp.ts';

/** What to do with the calls of one architecture. */
export interface SeccompSection {
  /** AUDIT_ARCH_*. */
  readonly auditArchitecture: number;
  /** x32: the same AUDIT_ARCH as x86-64, with a bit in the call's number. */
  readonly isX32: boolean;
  /** Of arguments: what is above 32 bits of a 32-bit call means nothing. */
  readonly is64Bit: boolean;
  readonly calls: ReadonlyMap<number, SeccompCallRule>;
}

export interface SeccompCallRule {
  /** SECCOMP_RET_* with its data, if one of the alternatives holds. */
  readonly action: number;
  /** All conditions of an alternative must hold; one without conditions always does. */
  readonly alternatives: readonly (readonly SeccompCondition[])[];
}

export interface SeccompProgramOptions {
  /** For calls without a rule, and those whose conditions do not hold. */
  readonly defaultAction: number;
  /** For calls of architectures without a section. */
  readonly foreignAction: number;
  readonly sections: readonly SeccompSection[];
}

/** One struct sock_filter; jumps are distances from the next instruction. */
interface Instruction {
  readonly code: number;
  readonly operand: number;
  readonly ifTrue: number;
  readonly ifFalse: number;
}

const NUMBER_OFFSET = 0; // of struct seccomp_data
const ARCHITECTURE_OFFSET = 4;
const ARGUMENTS_OFFSET = 16;
const AUDIT_ARCH_X86_64 = 0xc000003e;
const X32_BIT = 0x40000000;
/** What a tracer sets to skip a call: not of x32, though the bit is set. */
const NO_CALL = 0xffffffff;

const LOAD = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP = 0x05; // BPF_JMP | BPF_JA
const EQUAL = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const GREATER = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const NOT_LESS = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN = 0x06; // BPF_RET | BPF_K
/** Conditional jumps have 8 bits for a distance. */
const FARTHEST_JUMP = 255;

/** The filter as an array of struct sock_filter. */
export function seccompProgram(options: SeccompProgramOptions): Uint8Array {
  const x32 = options.sections.find(({ isX32 }) => isX32);
  const program = [instruction(LOAD, ARCHITECTURE_OFFSET)];
  for (const section of options.sections) {
    if (section.isX32) continue; // inside of x86-64's
    const body = [instruction(LOAD, NUMBER_OFFSET)];
    if (section.auditArchitecture === AUDIT_ARCH_X86_64) {
      const plain = callSearch(section, options.defaultAction);
      const other =
        x32 === undefined
          ? [
              instruction(EQUAL, NO_CALL, 0, 1),
              instruction(RETURN, options.defaultAction),
              instruction(RETURN, options.foreignAction),
            ]
          : callSearch(x32, options.defaultAction);
      body.push(...choose(NOT_LESS, X32_BIT, other, plain));
    } else {
      body.push(...callSearch(section, options.defaultAction));
    }
    program.push(...choose(EQUAL, section.auditArchitecture, body, []));
  }
  program.push(instruction(RETURN, options.foreignAction));
  return encode(program);
}

function instruction(code: number, operand: number, ifTrue = 0, ifFalse = 0): Instruction {
  return { code, operand: operand >>> 0, ifTrue, ifFalse };
}

/** A jump over `then` to `otherwise`; both must end by themselves, but for an empty `otherwise`. */
function choose(
  code: number,
  operand: number,
  then: readonly Instruction[],
  otherwise: readonly Instruction[],
): Instruction[] {
  const head =
    then.length <= FARTHEST_JUMP
      ? [instruction(code, operand, 0, then.length)]
      : [instruction(code, operand, 1, 0), instruction(JUMP, then.length)];
  return [...head, ...then, ...otherwise];
}

/** Calls from `first` up to the next range are treated alike. */
interface Range {
  readonly first: number;
  readonly rule: SeccompCallRule | undefined;
}

function callSearch(section: SeccompSection, defaultAction: number): Instruction[] {
  return search(ranges(section.calls), section.is64Bit, defaultAction);
}

function ranges(calls: ReadonlyMap<number, SeccompCallRule>): Range[] {
  const result: Range[] = [];
  let last: Range = { first: 0, rule: undefined };
  let end = 0;
  const begin = (first: number, rule: SeccompCallRule | undefined): void => {
    if (areAlike(last.rule, rule)) return;
    if (last.first < first) result.push(last); // else it is empty
    last = { first, rule };
  };
  for (const number of Float64Array.from(calls.keys()).sort()) {
    if (number > end) begin(end, undefined);
    begin(number, calls.get(number));
    end = number + 1;
  }
  begin(end, undefined);
  result.push(last);
  return result;
}

function areAlike(a: SeccompCallRule | undefined, b: SeccompCallRule | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.action === b.action && isUnconditional(a) && isUnconditional(b);
}

function isUnconditional({ alternatives }: SeccompCallRule): boolean {
  for (const conditions of alternatives) if (conditions.length === 0) return true;
  return false;
}

function search(all: readonly Range[], is64Bit: boolean, defaultAction: number): Instruction[] {
  const [only] = all;
  if (all.length === 1) return decide(only?.rule, is64Bit, defaultAction);
  const middle = all.length >> 1;
  const upper = all.slice(middle);
  return choose(
    NOT_LESS,
    upper[0]?.first ?? 0,
    search(upper, is64Bit, defaultAction),
    search(all.slice(0, middle), is64Bit, defaultAction),
  );
}

function decide(
  rule: SeccompCallRule | undefined,
  is64Bit: boolean,
  defaultAction: number,
): Instruction[] {
  if (rule === undefined) return [instruction(RETURN, defaultAction)];
  if (isUnconditional(rule)) return [instruction(RETURN, rule.action)];
  const program: Instruction[] = [];
  for (const conditions of rule.alternatives) {
    // Built backwards: a condition that fails jumps over all that is left of its alternative.
    let block = [instruction(RETURN, rule.action)];
    for (const condition of [...conditions].reverse()) {
      block = [...test(condition, is64Bit, block.length), ...block];
    }
    program.push(...block);
  }
  program.push(instruction(RETURN, defaultAction));
  return program;
}

/** Goes on behind itself if the condition holds, else `fail` instructions farther. */
function test(condition: SeccompCondition, is64Bit: boolean, fail: number): Instruction[] {
  const { operator, value, valueTwo = 0n } = condition;
  const offset = ARGUMENTS_OFFSET + condition.index * 8;
  const isMasked = operator === 'SCMP_CMP_MASKED_EQ';
  const compared = isMasked ? valueTwo & value : value;
  const low = Number(BigInt.asUintN(32, compared));
  const high = Number(BigInt.asUintN(32, compared >> 32n));
  const mask = (bits: bigint): Instruction[] =>
    isMasked ? [instruction(AND, Number(BigInt.asUintN(32, bits)))] : [];
  const lowWord = [instruction(LOAD, offset), ...mask(value), ...compareLow(operator, low, fail)];
  if (!is64Bit) return lowWord;
  const pass = lowWord.length;
  return [
    instruction(LOAD, offset + 4),
    ...mask(value >> 32n),
    ...compareHigh(operator, high, pass, pass + fail),
    ...lowWord,
  ];
}

/** The last word: it decides. */
function compareLow(
  operator: SeccompCondition['operator'],
  low: number,
  fail: number,
): Instruction[] {
  switch (operator) {
    case 'SCMP_CMP_EQ':
    case 'SCMP_CMP_MASKED_EQ':
      return [instruction(EQUAL, low, 0, fail)];
    case 'SCMP_CMP_NE':
      return [instruction(EQUAL, low, fail, 0)];
    case 'SCMP_CMP_GT':
      return [instruction(GREATER, low, 0, fail)];
    case 'SCMP_CMP_GE':
      return [instruction(NOT_LESS, low, 0, fail)];
    case 'SCMP_CMP_LT':
      return [instruction(NOT_LESS, low, fail, 0)];
    case 'SCMP_CMP_LE':
      return [instruction(GREATER, low, fail, 0)];
  }
}

/** The first word: only if it is equal must the other be looked at. */
function compareHigh(
  operator: SeccompCondition['operator'],
  high: number,
  pass: number,
  fail: number,
): Instruction[] {
  switch (operator) {
    case 'SCMP_CMP_EQ':
    case 'SCMP_CMP_MASKED_EQ':
      return [instruction(EQUAL, high, 0, fail)];
    case 'SCMP_CMP_NE':
      return [instruction(EQUAL, high, 0, pass)];
    case 'SCMP_CMP_GT':
    case 'SCMP_CMP_GE':
      return [instruction(GREATER, high, pass + 1, 0), instruction(EQUAL, high, 0, fail)];
    case 'SCMP_CMP_LT':
    case 'SCMP_CMP_LE':
      return [instruction(GREATER, high, fail + 1, 0), instruction(EQUAL, high, 0, pass)];
  }
}

function encode(program: readonly Instruction[]): Uint8Array {
  // Two words of 32 bits each: opcode and both jumps, then the operand.
  const words = new Uint32Array(program.length * 2);
  let position = 0;
  for (const { code, operand, ifTrue, ifFalse } of program) {
    words[position++] = code | (ifTrue << 16) | (ifFalse << 24);
    words[position++] = operand;
  }
  return new Uint8Array(words.buffer);
}
