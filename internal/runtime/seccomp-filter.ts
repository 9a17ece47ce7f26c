import {
  type KnownSyscalls,
  type SeccompCondition,
  SeccompFilter,
  type SeccompFlag,
  unknownSyscallGuard,
} from '../linux/index.ts';
import type { Seccomp, SeccompAction, SeccompSyscall } from '../oci/index.ts';

/** A seccomp profile ready for the kernel. */
export interface CompiledSeccomp {
  /** An array of struct sock_filter. */
  readonly filter: Uint8Array;
  readonly flags: readonly SeccompFlag[];
  /** Whether installing it gives a listener's fd that goes to `listenerPath`. */
  readonly hasListener: boolean;
}

const EPERM = 1;
const ENOSYS = 38;

/**
 * Compiles `linux.seccomp` (runtime-spec config-linux.md#seccomp). Names of system calls that
 * libseccomp does not know are left out: profiles name calls of other architectures and newer kernels.
 *
 * Throws Unavailable if libseccomp is missing, InvalidArgument for what it refuses.
 */
export function compileSeccomp(seccomp: Seccomp): CompiledSeccomp {
  const defaultErrno = errnoOf(seccomp.defaultAction, seccomp.defaultErrnoRet);
  using context = new SeccompFilter(seccomp.defaultAction, defaultErrno);
  for (const architecture of seccomp.architectures ?? []) context.addArchitecture(architecture);
  for (const rule of seccomp.syscalls ?? []) {
    const errno = errnoOf(rule.action, rule.errnoRet);
    // Saying what holds anyway is refused by libseccomp.
    if (rule.action === seccomp.defaultAction && errno === defaultErrno) continue;
    const alternatives = conditionsOf(rule);
    for (const name of rule.names) {
      for (const conditions of alternatives) {
        if (!context.addRule(name, rule.action, errno, conditions)) break; // unknown name
      }
    }
  }
  const compiled = context.compile();
  const hasListener = seccomp.syscalls?.some(({ action }) => action === 'SCMP_ACT_NOTIFY') ?? false;
  return {
    filter: needsGuard(seccomp, defaultErrno)
      ? Buffer.concat([unknownSyscallGuard(knownSyscalls(context, seccomp)), compiled])
      : compiled,
    flags: filterFlags(seccomp, hasListener),
    hasListener,
  };
}

/** Where the spec has no value, runc's EPERM. */
function errnoOf(action: SeccompAction, errno: number | undefined): number {
  const takesErrno = action === 'SCMP_ACT_ERRNO' || action === 'SCMP_ACT_TRACE';
  return takesErrno ? (errno ?? EPERM) : 0;
}

/**
 * The conditions of a rule: all must hold, unless some are on the same argument. Then, as profiles
 * written for libseccomp's old behaviour expect, each is a rule of its own.
 */
function conditionsOf({ args }: SeccompSyscall): readonly (readonly SeccompCondition[])[] {
  if (args === undefined || args.length === 0) return [[]];
  const conditions = args.map(({ index, op, value, valueTwo }) => ({
    index,
    operator: op,
    value,
    ...(valueTwo === undefined ? {} : { valueTwo }),
  }));
  const isShared = new Set(args.map(({ index }) => index)).size < args.length;
  return isShared ? conditions.map((condition) => [condition]) : [conditions];
}

/** A profile that lets unknown calls through, or to a tracer, lets the kernel say what it knows. */
function needsGuard({ defaultAction }: Seccomp, defaultErrno: number): boolean {
  switch (defaultAction) {
    case 'SCMP_ACT_ALLOW':
    case 'SCMP_ACT_LOG':
    case 'SCMP_ACT_TRACE':
      return false;
    default:
      return !(defaultAction === 'SCMP_ACT_ERRNO' && defaultErrno === ENOSYS);
  }
}

function knownSyscalls(filter: SeccompFilter, seccomp: Seccomp): KnownSyscalls[] {
  const names = new Set(seccomp.syscalls?.flatMap((rule) => rule.names));
  const tokens = new Set([filter.nativeArchitecture]);
  for (const name of seccomp.architectures ?? []) tokens.add(filter.architectureToken(name));
  const known: KnownSyscalls[] = [];
  for (const token of tokens) {
    let last = -1;
    for (const name of names) last = Math.max(last, filter.syscallNumber(token, name));
    if (last >= 0) known.push({ token, last });
  }
  return known;
}

/** The container's only thread installs the filter: there is none to synchronize with. */
function filterFlags({ flags }: Seccomp, hasListener: boolean): SeccompFlag[] {
  // As runc: without a list, mitigations that only slow the container down are left off.
  const wanted: readonly SeccompFlag[] = flags ?? ['SECCOMP_FILTER_FLAG_SPEC_ALLOW'];
  const given = wanted.filter((flag) => flag !== 'SECCOMP_FILTER_FLAG_TSYNC');
  return hasListener ? [...given, 'SECCOMP_FILTER_FLAG_NEW_LISTENER'] : given;
}
