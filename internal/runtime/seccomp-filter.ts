import {
  type KnownSyscalls,
  SeccompAction,
  type SeccompCallRule,
  type SeccompCondition,
  SeccompFilter,
  type SeccompFlag,
  type SeccompSection,
  SyscallTable,
  seccompProgram,
  unknownSyscallGuard,
} from '../linux/index.ts';
import type { Seccomp, SeccompArchitecture, SeccompSyscall } from '../oci/index.ts';

/** A seccomp profile ready for the kernel. */
export interface CompiledSeccomp {
  /** An array of struct sock_filter. */
  readonly filter: Uint8Array;
  readonly flags: readonly SeccompFlag[];
  /** Whether installing it gives a listener's fd that goes to `listenerPath`. */
  readonly hasListener: boolean;
}

/** A rule of a profile in one form. */
interface Rule {
  readonly names: readonly string[];
  readonly action: SeccompAction;
  readonly errno: number;
  readonly alternatives: readonly (readonly SeccompCondition[])[];
  /** It says what holds anyway; but the profile knows these calls. */
  readonly saysDefault: boolean;
}

const EPERM = 1;
const ENOSYS = 38;

/**
 * Compiles `linux.seccomp` (runtime-spec config-linux.md#seccomp). Names of system calls that
 * libseccomp does not know are left out: profiles name calls of other architectures and newer kernels.
 *
 * The usual profiles are translated here with libseccomp's tables, since compiling 350 calls for
 * three architectures takes libseccomp 10 ms and this 1 ms; what is not usual is left to libseccomp.
 *
 * Throws Unavailable if libseccomp is missing, InvalidArgument for what it refuses.
 */
export function compileSeccomp(seccomp: Seccomp): CompiledSeccomp {
  const table = new SyscallTable();
  const rules = rulesOf(seccomp);
  const architectures = architecturesOf(table, seccomp.architectures);
  const sections = translate(rules, table, architectures);
  const compiled =
    sections === undefined
      ? compileWithLibrary(seccomp, rules)
      : seccompProgram({
          defaultAction: actionNumber(seccomp.defaultAction, defaultErrnoOf(seccomp)),
          foreignAction: actionNumber('SCMP_ACT_KILL', 0),
          sections,
        });
  const known = sections?.map(({ token, last }) => ({ token, last }));
  const guard = needsGuard(seccomp)
    ? unknownSyscallGuard(known ?? knownSyscalls(rules, table, architectures))
    : new Uint8Array();
  const hasListener = rules.some(({ action }) => action === 'SCMP_ACT_NOTIFY');
  return {
    filter: Buffer.concat([guard, compiled]),
    flags: filterFlags(seccomp, hasListener),
    hasListener,
  };
}

/** Where the spec has no value, runc's EPERM. */
function errnoOf(action: SeccompAction, errno: number | undefined): number {
  const takesErrno = action === 'SCMP_ACT_ERRNO' || action === 'SCMP_ACT_TRACE';
  return takesErrno ? (errno ?? EPERM) : 0;
}

function defaultErrnoOf({ defaultAction, defaultErrnoRet }: Seccomp): number {
  return errnoOf(defaultAction, defaultErrnoRet);
}

function rulesOf(seccomp: Seccomp): Rule[] {
  const defaultErrno = defaultErrnoOf(seccomp);
  return (seccomp.syscalls ?? []).map((rule) => {
    const errno = errnoOf(rule.action, rule.errnoRet);
    return {
      names: rule.names,
      action: rule.action,
      errno,
      alternatives: alternativesOf(rule),
      saysDefault: rule.action === seccomp.defaultAction && errno === defaultErrno,
    };
  });
}

/**
 * The conditions of a rule: all must hold, unless some are on the same argument. Then, as profiles
 * written for libseccomp's old behaviour expect, each is a rule of its own.
 */
function alternativesOf({ args = [] }: SeccompSyscall): Rule['alternatives'] {
  const conditions = args.map(({ index, op, value, valueTwo }) => ({
    index,
    operator: op,
    value,
    ...(valueTwo === undefined ? {} : { valueTwo }),
  }));
  const isShared = new Set(args.map(({ index }) => index)).size < args.length;
  return isShared ? conditions.map((condition) => [condition]) : [conditions];
}

/** The native architecture is always there. */
function architecturesOf(
  table: SyscallTable,
  names: readonly SeccompArchitecture[] = [],
): number[] {
  return [...new Set([table.native, ...names.map((name) => table.architecture(name))])];
}

/** One architecture's part of the filter, and the greatest number that the profile names. */
type TranslatedSection = SeccompSection & KnownSyscalls;

/**
 * The parts of the filter, or undefined for what is left to libseccomp: architectures with other
 * conventions, different actions for one call.
 */
function translate(
  rules: readonly Rule[],
  table: SyscallTable,
  architectures: readonly number[],
): TranslatedSection[] | undefined {
  const sections: TranslatedSection[] = [];
  for (const token of architectures) {
    const section = SyscallTable.section(token);
    const translated = section && translateRules(rules, table, token);
    if (section === undefined || translated === undefined) return undefined;
    sections.push({ ...section, ...translated, token });
  }
  return sections;
}

function translateRules(
  rules: readonly Rule[],
  table: SyscallTable,
  token: number,
): { calls: SeccompSection['calls']; last: number } | undefined {
  const calls = new Map<number, SeccompCallRule>();
  let last = -1;
  for (const { names, action, errno, alternatives, saysDefault } of rules) {
    // Calls share the rule of their list: so the generator sees at once which neighbours are alike.
    const shared = { action: actionNumber(action, errno), alternatives };
    const add = (number: number, rule: SeccompCallRule): boolean => {
      if (number > last) last = number;
      if (saysDefault) return true;
      const other = calls.get(number);
      if (other !== undefined && other.action !== rule.action) return false;
      calls.set(number, other === undefined ? rule : either(other, rule));
      return true;
    };
    for (const name of names) {
      const number = table.number(token, name);
      if (number >= 0) {
        if (!add(number, shared)) return undefined;
        continue;
      }
      const places = table.places(token, name);
      if (places === undefined) return undefined;
      for (const { number: place, selector } of places) {
        const rule = selector === undefined ? shared : behind(selector, shared);
        if (!add(place, rule)) return undefined;
      }
    }
  }
  return { calls, last };
}

function either(one: SeccompCallRule, other: SeccompCallRule): SeccompCallRule {
  if (one === other) return one;
  return { action: one.action, alternatives: [...one.alternatives, ...other.alternatives] };
}

/** For a call that is chosen by the first argument: its own first one is out of reach. */
function behind(selector: bigint, { action, alternatives }: SeccompCallRule): SeccompCallRule {
  const chosen = { index: 0, operator: 'SCMP_CMP_EQ', value: selector } as const;
  return {
    action,
    alternatives: alternatives.map((conditions) => [
      chosen,
      ...conditions.filter(({ index }) => index !== 0),
    ]),
  };
}

/** SECCOMP_RET_*: libseccomp has the kernel's numbers. */
function actionNumber(action: SeccompAction, errno: number): number {
  return (SeccompAction[action] | (errno & 0xffff)) >>> 0;
}

function compileWithLibrary(seccomp: Seccomp, rules: readonly Rule[]): Uint8Array {
  using filter = new SeccompFilter(seccomp.defaultAction, defaultErrnoOf(seccomp));
  for (const architecture of seccomp.architectures ?? []) filter.addArchitecture(architecture);
  for (const { names, action, errno, alternatives, saysDefault } of rules) {
    if (saysDefault) continue; // libseccomp refuses it
    for (const name of names) {
      for (const conditions of alternatives) {
        if (!filter.addRule(name, action, errno, conditions)) break; // unknown name
      }
    }
  }
  return filter.compile();
}

/** A profile that lets unknown calls through, or to a tracer, lets the kernel say what it knows. */
function needsGuard(seccomp: Seccomp): boolean {
  switch (seccomp.defaultAction) {
    case 'SCMP_ACT_ALLOW':
    case 'SCMP_ACT_LOG':
    case 'SCMP_ACT_TRACE':
      return false;
    default:
      return seccomp.defaultAction !== 'SCMP_ACT_ERRNO' || defaultErrnoOf(seccomp) !== ENOSYS;
  }
}

function knownSyscalls(
  rules: readonly Rule[],
  table: SyscallTable,
  architectures: readonly number[],
): KnownSyscalls[] {
  return architectures.map((token) => {
    let last = -1;
    for (const { names } of rules) {
      for (const name of names) last = Math.max(last, table.number(token, name));
    }
    return { token, last };
  });
}

/** The container's only thread installs the filter: there is none to synchronize with. */
function filterFlags({ flags }: Seccomp, hasListener: boolean): SeccompFlag[] {
  // As runc: without a list, mitigations that only slow the container down are left off.
  const wanted: readonly SeccompFlag[] = flags ?? ['SECCOMP_FILTER_FLAG_SPEC_ALLOW'];
  const meaningless = [
    'SECCOMP_FILTER_FLAG_TSYNC',
    // How a notified call waits: where none is, the kernel refuses it.
    ...(hasListener ? [] : ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV']),
  ];
  const given = wanted.filter((flag) => !meaningless.includes(flag));
  return hasListener ? [...given, 'SECCOMP_FILTER_FLAG_NEW_LISTENER'] : given;
}
