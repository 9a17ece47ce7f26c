/**
 * What to do about a step that the kernel refused, where the label and the errno alone do not say it: labels of AppArmor
 * (man 7 apparmor; aa_change_onexec in the kernel), and cgroups without time for real-time processes.
 */
import { TsError } from '../errors/index.ts';

const PROFILE = 'set process.apparmorProfile ';
/**
 * A process without new privileges keeps the limits of the label it has: EPERM, before Linux 4.13 where the profile is set, and
 * since then of execve(2) (profile_onexec in security/apparmor/domain.c).
 */
export const CONFINED_ADVICE =
  'tsrunc itself is confined by AppArmor and may get no new privileges: run it without the one or the other, or set process.noNewPrivileges to false';

/** The error of a failed step, whose message ends in the errno, with the advice for it. */
export function withStepAdvice(error: TsError): TsError {
  const { kind, message, fields } = error;
  const { errno } = fields;
  if (typeof errno !== 'string' || !message.endsWith(`: ${errno}`)) return error;
  const advice = stepAdvice(message.slice(0, -`: ${errno}`.length), errno);
  return advice === undefined ? error : new TsError(kind, message, { fields, advice });
}

/** `label` is that of the failed step, `errno` the name of its error. Undefined where no more is known than these say. */
export function stepAdvice(label: string, errno: string): string | undefined {
  if (label.startsWith(PROFILE)) return profileAdvice(label.slice(PROFILE.length), errno);
  // Documentation/scheduler/sched-rt-group.rst: a new group of cgroup v1 has none.
  if (errno === 'EINVAL' && /^join cgroup \S*\/cpu(?:,cpuacct)?\//.test(label)) {
    return 'a real-time process (process.scheduler) needs a cgroup with time for it: set linux.resources.cpu.realtimeRuntime';
  }
  return undefined;
}

function profileAdvice(name: string, errno: string): string | undefined {
  switch (errno) {
    case 'ENOENT':
      return `load the profile ${name} into the kernel with apparmor_parser --replace`;
    case 'EACCES':
      return `tsrunc itself is confined: allow "change_profile -> ${name}," in its own profile (dmesg | grep apparmor)`;
    case 'EPERM':
      return CONFINED_ADVICE;
    default:
      return undefined;
  }
}
