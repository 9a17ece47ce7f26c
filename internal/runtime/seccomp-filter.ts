import { SeccompFilter, type SeccompFlag } from '../linux/index.ts';
import type { Seccomp } from '../oci/index.ts';
import type { SeccompPlan } from './init-program.ts';

/** Compiles a profile (runtime-spec config-linux.md#seccomp) with libseccomp. */
export function compileSeccomp(seccomp: Seccomp): SeccompPlan {
  using filter = new SeccompFilter(seccomp.defaultAction, seccomp.defaultErrnoRet ?? EPERM);
  filter.setAttribute('SCMP_FLTATR_CTL_NNP', 0);
  for (const architecture of seccomp.architectures ?? []) filter.addArchitecture(architecture);
  for (const { names, action, errnoRet, args } of seccomp.syscalls ?? []) {
    if (action === seccomp.defaultAction) continue;
    const conditions = (args ?? []).map(({ index, op, value, valueTwo }) => ({
      index,
      operator: op,
      value,
      ...(valueTwo === undefined ? {} : { valueTwo }),
    }));
    for (const name of names) filter.addRule(name, action, errnoRet ?? EPERM, conditions);
  }
  return { filter: filter.compile(), flags: (seccomp.flags ?? []) as readonly SeccompFlag[] };
}

const EPERM = 1;
