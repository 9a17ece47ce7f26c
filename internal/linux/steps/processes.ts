import { flags, named } from '../constants/flags.ts';
import { Personality, WaitOption } from '../constants/process.ts';
import {
  IoPriorityClass,
  ResourceLimit,
  RLIM_INFINITY,
  SchedulerFlag,
  SchedulerPolicy,
} from '../constants/resource.ts';
import { Signal, type SignalName } from '../constants/signal.ts';
import { TerminalIoctl } from '../constants/terminal.ts';
import { ownStatusSet } from '../own-status.ts';
import { bytesOf, Memory, Named, type Value } from '../program/argument.ts';
import type { Step } from '../program/step.ts';
import { octal } from './files.ts';

/** setsid(2). EPERM: this process leads a group already. */
export function setSession(): Step {
  return { label: 'create session', call: 'setsid', args: [] };
}

/** TIOCSCTTY: the terminal becomes the controlling one of this session. */
export function setControllingTerminal(fd: Value): Step {
  const args = [fd, named(TerminalIoctl, 'TIOCSCTTY'), 0];
  return { label: 'set controlling terminal', call: 'ioctl', args };
}

/** umask(2). */
export function setUmask(mask: number): Step {
  return { label: `set umask ${octal(mask).text}`, call: 'umask', args: [octal(mask)] };
}

/** chdir(2). */
export function changeDirectory(path: string): Step {
  return { label: `chdir ${path}`, call: 'chdir', args: [path] };
}

/** fchdir(2). */
export function changeDirectoryToFd(fd: Value): Step {
  return { label: 'chdir to an fd', call: 'fchdir', args: [fd] };
}

/** chroot(2). */
export function changeRoot(path: string): Step {
  return { label: `chroot ${path}`, call: 'chroot', args: [path] };
}

/** prlimit64(2) of this process. */
export function setResourceLimit(limit: ResourceLimit, soft: bigint, hard: bigint): Step {
  const amount = (value: bigint) => (value === RLIM_INFINITY ? 'RLIM_INFINITY' : `${value}`);
  const limits = new Memory(
    16,
    () => `{${amount(soft)}, ${amount(hard)}}`,
    (view) => {
      view.setBigUint64(0, soft, true);
      view.setBigUint64(8, hard, true);
    },
  );
  const args = [0, named(ResourceLimit, limit), limits, null];
  return { label: `set ${limit}`, call: 'prlimit64', args };
}

/** What sched_setattr(2) sets (runtime-spec config.md#scheduler). Times are in nanoseconds. */
export interface SchedulerAttributes {
  policy: SchedulerPolicy;
  nice?: number;
  priority?: number;
  flags?: readonly SchedulerFlag[];
  runtimeNs?: bigint;
  deadlineNs?: bigint;
  periodNs?: bigint;
}

const SCHED_ATTR_BYTES = 48;

/** sched_setattr(2) of this process. */
export function setScheduler(attributes: SchedulerAttributes): Step {
  const { policy, nice = 0, priority = 0, flags: names = [] } = attributes;
  const { runtimeNs = 0n, deadlineNs = 0n, periodNs = 0n } = attributes;
  const schedulerFlags = flags(SchedulerFlag, names);
  const text = () => `{${policy}, ${schedulerFlags.text}, nice=${nice}, priority=${priority}}`;
  const memory = new Memory(SCHED_ATTR_BYTES, text, (view) => {
    view.setUint32(0, SCHED_ATTR_BYTES, true);
    view.setUint32(4, SchedulerPolicy[policy], true);
    view.setBigUint64(8, BigInt(schedulerFlags.value), true);
    view.setInt32(16, nice, true);
    view.setUint32(20, priority, true);
    view.setBigUint64(24, runtimeNs, true);
    view.setBigUint64(32, deadlineNs, true);
    view.setBigUint64(40, periodNs, true);
  });
  return { label: `set scheduler ${policy}`, call: 'sched_setattr', args: [0, memory, 0] };
}

const IOPRIO_WHO_PROCESS = new Named(1, 'IOPRIO_WHO_PROCESS');
const IOPRIO_CLASS_SHIFT = 13;

/** ioprio_set(2) of this process. */
export function setIoPriority(ioClass: IoPriorityClass, priority: number): Step {
  const value = new Named(
    (IoPriorityClass[ioClass] << IOPRIO_CLASS_SHIFT) | priority,
    () => `${ioClass}<<${IOPRIO_CLASS_SHIFT}|${priority}`,
  );
  return {
    label: `set I/O priority ${ioClass}`,
    call: 'ioprio_set',
    args: [IOPRIO_WHO_PROCESS, 0, value],
  };
}

/** personality(2). */
export function setPersonality(personality: Personality): Step {
  const args = [named(Personality, personality)];
  return { label: `set personality ${personality}`, call: 'personality', args };
}

/** sethostname(2) of this uts namespace. */
export function setHostname(name: string): Step {
  const memory = bytesOf(name);
  return { label: `set hostname ${name}`, call: 'sethostname', args: [memory, memory.size] };
}

/** setdomainname(2) of this uts namespace. */
export function setDomainname(name: string): Step {
  const memory = bytesOf(name);
  return { label: `set domainname ${name}`, call: 'setdomainname', args: [memory, memory.size] };
}

const SIGNAL_SET_BYTES = 8;
const SIG_SETMASK = new Named(2, 'SIG_SETMASK');

/**
 * In a child of {@link cloneProcess}: every signal has its default disposition and none is blocked,
 * which is how a program must find them.
 *
 * Node made those below 32 default when it started, except for two that it ignores, and the clone has
 * replaced the handlers that came later. Above, what the caller ignores is inherited: GNU make has its
 * children ignore 32 and 33.
 */
export function* resetSignals(): Generator<Step> {
  const defaults = new Memory(32, () => '{SIG_DFL}'); // struct sigaction of zeros
  const ignoredByNode = (['SIGPIPE', 'SIGXFSZ'] as const).map((name) => named(Signal, name));
  ignoredAbove31 ??= ignoredRealTimeSignals();
  for (const signal of [...ignoredByNode, ...ignoredAbove31]) {
    const args = [signal, defaults, null, SIGNAL_SET_BYTES];
    yield { label: `reset ${signal.text}`, call: 'rt_sigaction', args };
  }
  const none = new Memory(SIGNAL_SET_BYTES, () => '{}');
  const args = [SIG_SETMASK, none, null, SIGNAL_SET_BYTES];
  yield { label: 'unblock all signals', call: 'rt_sigprocmask', args };
}

/** What the caller of this process ignores; Node does not change it. */
let ignoredAbove31: readonly Named[] | undefined;

function ignoredRealTimeSignals(): Named[] {
  const ignored = ownStatusSet('SigIgn');
  const found: Named[] = [];
  for (let signal = 32; signal <= 64; signal++) {
    if ((ignored >> BigInt(signal - 1)) & 1n) found.push(new Named(signal, `signal ${signal}`));
  }
  return found;
}

/** An array of C strings that ends with NULL, as execve takes them. */
export function stringArray(strings: readonly (string | Memory)[]): Memory {
  return new Memory(
    (strings.length + 1) * 8,
    () =>
      `[${strings.map((each) => (typeof each === 'string' ? JSON.stringify(each) : each.text))}]`,
    (view, placement) => {
      strings.forEach((string, position) => {
        const address =
          typeof string === 'string' ? placement.text(string) : placement.memory(string);
        view.setBigUint64(position * 8, BigInt(address), true);
      });
    },
  );
}

/**
 * execve(2). Returns only on an error. For several candidates make the two arrays once with
 * {@link stringArray}.
 */
export function execute(path: string, args: Memory, env: Memory): Step {
  return { label: `exec ${path}`, call: 'execve', args: [path, args, env] };
}

/** exit_group(2). */
export function exit(status: number): Step {
  return { label: 'exit', call: 'exit_group', args: [status] };
}

/** kill(2) of all processes of a group. ESRCH: there is none. */
export function killGroup(group: number, signal: SignalName): Step {
  return { label: `kill group ${group}`, call: 'kill', args: [-group, named(Signal, signal)] };
}

/** wait4(2) for one child of this process; its wait status goes into `status` (32 bits). */
export function waitForChild(pid: Value, status?: Memory): Step {
  const args = [pid, status ?? null, flags(WaitOption, ['__WALL']), null];
  return { label: 'wait for the child', call: 'wait4', args };
}
