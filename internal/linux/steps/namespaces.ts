import { CloneFlag, NAMESPACE_FLAG_NAMES, Namespace } from '../constants/process.ts';
import { Signal, type SignalName } from '../constants/signal.ts';
import { type Argument, type Field, Memory, Named, type Value } from '../program/argument.ts';
import type { Step } from '../program/step.ts';

/** What clone3(2) shall make. */
export interface CloneOptions {
  /** Namespaces to create, by their OCI names. */
  namespaces?: readonly Namespace[];
  /** What the parent gets when the child ends; none with `sibling`. */
  exitSignal?: SignalName;
  /** The child's parent becomes this process's parent (CLONE_PARENT): a sibling, not a child. */
  sibling?: boolean;
  /** The child starts in this cgroup v2 directory (CLONE_INTO_CGROUP). */
  cgroup?: number;
  /** Takes the child's pidfd, in the parent. */
  pidfd?: Field;
}

const CLONE_ARGS_BYTES = 88;

/**
 * clone3(2) like fork(2): the child has its own copy of this memory. Signal handlers become the
 * default at once (CLONE_CLEAR_SIGHAND); Node's must not run in it. Linux 5.7.
 *
 * The label names what a refusal is usually about.
 */
export function cloneProcess(options: CloneOptions = {}): Step {
  const { namespaces = [], exitSignal = 'SIGCHLD', sibling = false, cgroup, pidfd } = options;
  const names = namespaces.map((name) => NAMESPACE_FLAG_NAMES[name]);
  let bits: bigint = CloneFlag.CLONE_CLEAR_SIGHAND;
  names.push('CLONE_CLEAR_SIGHAND');
  for (const name of namespaces) bits |= BigInt(Namespace[name]);
  const set = (flag: CloneFlag): void => {
    bits |= CloneFlag[flag];
    names.push(flag);
  };
  if (sibling) set('CLONE_PARENT');
  if (pidfd !== undefined) set('CLONE_PIDFD');
  if (cgroup !== undefined) set('CLONE_INTO_CGROUP');

  const text = () => {
    const parts = [`flags=${names.join('|')}`];
    if (!sibling) parts.push(`exit_signal=${exitSignal}`);
    if (cgroup !== undefined) parts.push(`cgroup=${cgroup}`);
    return `{${parts.join(', ')}}`;
  };
  const cloneArgs = new Memory(CLONE_ARGS_BYTES, text, (view, placement) => {
    view.setBigUint64(0, bits, true);
    if (pidfd !== undefined) {
      view.setBigUint64(8, BigInt(placement.memory(pidfd.memory) + pidfd.offset), true);
    }
    view.setBigUint64(32, sibling ? 0n : BigInt(Signal[exitSignal]), true);
    view.setBigUint64(80, BigInt(cgroup ?? 0), true);
  });
  const what =
    namespaces.length === 0 ? 'process' : `process with new ${namespaces.join(', ')} namespace`;
  const plural = namespaces.length > 1 ? 's' : '';
  return { label: `clone ${what}${plural}`, call: 'clone3', args: [cloneArgs, CLONE_ARGS_BYTES] };
}

/** unshare(2): this process moves into new namespaces (its children, for `pid` and `time`). */
export function unshare(namespaces: readonly Namespace[]): Step {
  const plural = namespaces.length > 1 ? 's' : '';
  return {
    label: `create new ${namespaces.join(', ')} namespace${plural}`,
    call: 'unshare',
    args: [namespaceFlags(namespaces)],
  };
}

/** setns(2): this process joins the namespace that an fd of /proc/PID/ns refers to. */
export function joinNamespace(fd: Value, namespace: Namespace, path?: string): Step {
  const of = path === undefined ? '' : ` ${path}`;
  return {
    label: `join ${namespace} namespace${of}`,
    call: 'setns',
    args: [fd, namespaceFlags([namespace])],
  };
}

/** setns(2) with a pidfd: joins several namespaces of a process at once. Linux 5.8. */
export function joinNamespacesOf(pidfd: Value, namespaces: readonly Namespace[]): Step {
  return {
    label: `join ${namespaces.join(', ')} namespaces of a process`,
    call: 'setns',
    args: [pidfd, namespaceFlags(namespaces)],
  };
}

function namespaceFlags(namespaces: readonly Namespace[]): Argument {
  let bits = 0;
  for (const name of namespaces) bits |= Namespace[name];
  return new Named(bits >>> 0, () =>
    namespaces.map((name) => NAMESPACE_FLAG_NAMES[name]).join('|'),
  );
}
