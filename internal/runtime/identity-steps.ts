/** Who the process is to be: labels, limits, user, capabilities, filter. The same for init and exec. */
import {
  type Announcement,
  check,
  type Sequence,
  StoredValue,
  steps,
  type Value,
} from '../linux/index.ts';
import type { MemoryPolicy, Personality, Process } from '../oci/index.ts';
import {
  addBoundingSet,
  addUser,
  type CapabilityPlan,
  type MaySetGroups,
} from './credential-steps.ts';
import { addExecutableCheck, addExecute, searchExecutable } from './executable.ts';
import type { HomeByChild } from './home-by-child.ts';
import { parseIdList } from './id-list.ts';
import { addResourceLimits, addStdioOwner } from './process-steps.ts';

/** A compiled seccomp profile. */
export interface SeccompPlan {
  readonly filter: Uint8Array;
  readonly flags: NonNullable<Parameters<typeof steps.setSeccompFilter>[1]>;
  /** Whether installing it gives an fd for `listenerPath`. */
  readonly hasListener: boolean;
}

export interface IdentityPlan {
  readonly process: Process;
  readonly personality: Personality | undefined;
  readonly memoryPolicy: MemoryPolicy | undefined;
  readonly capabilities: CapabilityPlan;
  /** Greatest capability that the kernel knows. */
  readonly lastCapability: number;
  readonly maySetGroups: MaySetGroups;
  readonly seccomp: SeccompPlan | undefined;
  /** Whether the runtime, not the child, sets limits and oom_score_adj (user namespaces). */
  readonly parentSetsLimits: boolean;
  readonly openFiles: { readonly soft: bigint; readonly hard: bigint };
  /** Which of stdio shall belong to the container's user. */
  readonly ownedStdio: readonly number[];
  /** The host's /proc: never the container's, which may lie. */
  readonly proc: number;
  /** How the process comes to a HOME that its environment does not have yet. */
  readonly home: HomeByChild | undefined;
  /** Number of fds from 3 on that are passed to the container. */
  readonly preserved: number;
  /** Write end of the pipe for announcements, read end of the one on which the runtime says: go on. */
  readonly report: number;
  readonly goOn: number;
}

/**
 * Labels of the coming execve (man 7 apparmor; SELinux's exec attribute), written through the host's
 * /proc.
 */
function addLabels(sequence: Sequence, { process, proc }: IdentityPlan): void {
  const { apparmorProfile = '', selinuxLabel = '' } = process;
  const write = (path: string, value: string, label: string): void => {
    const step = steps.open({ directory: proc, path, flags: ['O_WRONLY'] });
    const fd = sequence.add(step, { label });
    sequence.add(steps.write(fd, value), { label });
    sequence.add(steps.close(fd));
  };
  if (selinuxLabel !== '') {
    write('self/attr/exec', selinuxLabel, `set process.selinuxLabel ${selinuxLabel}`);
  }
  if (apparmorProfile !== '') {
    const label = `set process.apparmorProfile ${apparmorProfile}`;
    write('self/attr/apparmor/exec', `exec ${apparmorProfile}`, label);
  }
}

export function addOomScore(sequence: Sequence, { process, proc }: IdentityPlan): void {
  const score = process.oomScoreAdj;
  if (score === undefined) return;
  const label = `set process.oomScoreAdj ${score}`;
  const fd = sequence.add(
    steps.open({ directory: proc, path: 'self/oom_score_adj', flags: ['O_WRONLY'] }),
    { label },
  );
  sequence.add(steps.write(fd, String(score)), { label });
  sequence.add(steps.close(fd));
}

/** From root to the user, with the program to execute looked for as that user. */
export function addIdentity(
  sequence: Sequence,
  root: Value,
  plan: IdentityPlan,
): Announcement | undefined {
  const { process } = plan;
  let listener: Announcement | undefined;
  plan.home?.addTo(sequence, root, plan);
  if (plan.personality !== undefined) sequence.add(steps.setPersonality(plan.personality.domain));
  if (plan.memoryPolicy !== undefined) addMemoryPolicy(sequence, plan.memoryPolicy);
  if (!plan.parentSetsLimits) {
    addResourceLimits(sequence, process.rlimits ?? [], plan.openFiles);
  }
  sequence.add(steps.setUmask(process.user.umask ?? 0o022));
  addLabels(sequence, plan);
  addStdioOwner(sequence, plan.ownedStdio, process.user.uid);
  if (process.noNewPrivileges === true) sequence.add(steps.setNoNewPrivileges());
  // Without no_new_privs a filter needs CAP_SYS_ADMIN, which the user may not have.
  else listener = addFilter(sequence, plan);
  addBoundingSet(sequence, plan.capabilities, plan.lastCapability);
  addUser(sequence, process, plan.capabilities, plan);
  addExecutableCheck(sequence, searchExecutable(process.args[0] ?? '', process.env ?? []));
  return listener;
}

function addMemoryPolicy(sequence: Sequence, policy: MemoryPolicy): void {
  const nodes = parseIdList(policy.nodes ?? '', 'linux.memoryPolicy.nodes');
  const mode = policy.mode as Parameters<typeof steps.setMemoryPolicy>[0];
  const flags = (policy.flags ?? []) as Parameters<typeof steps.setMemoryPolicy>[2];
  sequence.add(steps.setMemoryPolicy(mode, nodes, flags), { label: 'set linux.memoryPolicy' });
}

/** The last steps: fds to pass on, the filter that only the program shall feel, execve. */
export function addProgram(sequence: Sequence, plan: IdentityPlan): void {
  const { process } = plan;
  for (let fd = 3; fd < 3 + plan.preserved; fd++) {
    sequence.add(steps.setCloseOnExec(fd, false), { label: `pass on fd ${fd}` });
  }
  if (process.noNewPrivileges === true && plan.seccomp?.hasListener === false) {
    addFilter(sequence, plan);
  }
  const env = process.env ?? [];
  const search = searchExecutable(process.args[0] ?? '', env);
  const home = plan.home === undefined ? [] : [plan.home.variable];
  addExecute(sequence, search, process.args, [...env, ...home], plan.report);
}

/**
 * A filter with a listener is installed while the runtime is still there to pass the listener on, where another
 * filter may wait until just before execve. Returns what tells the listener's fd.
 */
export function addEarlyFilter(sequence: Sequence, plan: IdentityPlan): Announcement | undefined {
  const isDue = plan.process.noNewPrivileges === true && plan.seccomp?.hasListener === true;
  return isDue ? addFilter(sequence, plan) : undefined;
}

function addFilter(sequence: Sequence, plan: IdentityPlan): Announcement | undefined {
  const { seccomp, report, goOn } = plan;
  if (seccomp === undefined) return undefined;
  const step = steps.setSeccompFilter(seccomp.filter, seccomp.flags);
  const label = 'set linux.seccomp';
  if (!seccomp.hasListener) {
    sequence.add(step, { label });
    return undefined;
  }
  const listener = new StoredValue();
  sequence.add(step, { label, as: 'listener', into: listener.field });
  const announced = sequence.announceStored('seccomp listener', report, listener);
  // execve closes the listener: the runtime has to have a copy by then.
  const wait = 'wait for the runtime: seccomp listener';
  const length = sequence.add(steps.waitForBytes(goOn), { label: wait, retryOn: 'EINTR' });
  sequence.add(check(wait, length, { equals: 1, errno: 'EPIPE' }));
  return announced;
}
