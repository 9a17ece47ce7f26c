/**
 * SELinux labels of pods and containers (Kubernetes' seLinuxOptions; containerd's enable_selinux). Each pod has a level of
 * its own, two categories that no other pod has: a process that breaks out of its container still cannot touch the files
 * and processes of other pods. A container has the pod's label unless its request says otherwise.
 */
import { randomInt } from 'node:crypto';
import type { SELinuxOption } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';

/** Of the policy's `lxc_contexts`: labels to start from. */
export interface SelinuxContexts {
  readonly process: string;
  readonly file: string;
  /** Of processes that run a virtual machine. */
  readonly kvmProcess: string;
  /** Whether the policy has levels at all. */
  readonly hasLevels: boolean;
}

/** What a spec says: `process.selinuxLabel` and `linux.mountLabel`; '' for none. */
export interface SelinuxLabels {
  readonly process: string;
  readonly mount: string;
}

/** Labels where SELinux is off. */
export const NO_LABELS: SelinuxLabels = { process: '', mount: '' };

interface Context {
  readonly user: string;
  readonly role: string;
  readonly type: string;
  readonly level: string;
}

const LEVEL = /^s\d(-s\d)?(:c\d{1,4}(\.c\d{1,4})?(,c\d{1,4}(\.c\d{1,4})?)*)?$/;
/** Tries to find a level that is free before the range is said to be used up. */
const MAX_TRIES = 10_000;

/** Reads the lines `KEY = "LABEL"` of lxc_contexts (container-selinux). */
export function parseContexts(text: string, hasLevels: boolean): SelinuxContexts | undefined {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, key = '', value = ''] = /^\s*(\w+)\s*=\s*"?([^"]*?)"?\s*$/.exec(line) ?? [];
    if (key !== '') values.set(key, value);
  }
  const process = values.get('process') ?? '';
  const file = values.get('file') ?? '';
  if (process === '' || file === '') return undefined;
  return { process, file, kvmProcess: values.get('kvm_process') ?? '', hasLevels };
}

/** Throws InvalidArgument for a level that is none: sensitivities, and categories after a colon. */
export function checkLevel(options: SELinuxOption | undefined): void {
  const level = options?.level ?? '';
  if (level === '' || LEVEL.test(level)) return;
  throw new TsError('InvalidArgument', `selinux_options.level: ${JSON.stringify(level)}`, {
    advice: 'use a level such as s0:c1,c2',
  });
}

/** Hands levels out and takes them back. */
export class SelinuxAllocator {
  readonly #contexts: SelinuxContexts | undefined;
  readonly #range: number;
  readonly #random: (below: number) => number;
  /** How many labels have a level: containers share that of their pod. */
  readonly #uses = new Map<string, number>();

  /** Without `contexts` SELinux is off: requests are checked, and nothing is labelled. Categories are 0 to `range` - 1. */
  constructor(
    contexts: SelinuxContexts | undefined,
    range: number,
    random: (below: number) => number = randomInt,
  ) {
    this.#contexts = contexts;
    this.#range = range;
    this.#random = random;
  }

  /** Labels of a pod. Throws InvalidArgument for a bad level, ResourceExhausted when every level is taken. */
  pod(options: SELinuxOption | undefined): SelinuxLabels {
    checkLevel(options);
    return this.#reserved(options ?? { user: '', role: '', type: '', level: '' });
  }

  /** Labels of a container: of its own request, else the pod's. */
  container(options: SELinuxOption | undefined, podProcessLabel: string): SelinuxLabels {
    checkLevel(options);
    const isGiven =
      options !== undefined && Object.values(options).some((value: string) => value !== '');
    return this.#reserved(isGiven ? options : parse(podProcessLabel));
  }

  #reserved({ user, role, type, level: wanted }: Context): SelinuxLabels {
    const contexts = this.#contexts;
    if (contexts === undefined) return NO_LABELS;
    const process = parse(contexts.process);
    const file = parse(contexts.file);
    const level = contexts.hasLevels ? wanted || this.#uniqueLevel() : wanted;
    const labels = {
      process: format({
        user: user || process.user,
        role: role || process.role,
        type: type || process.type,
        level: level || process.level,
      }),
      mount: format({ ...file, user: user || file.user, level: level || file.level }),
    };
    this.reserve(labels.process);
    return labels;
  }

  #uniqueLevel(): string {
    for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
      const [one, two] = [this.#random(this.#range), this.#random(this.#range)];
      if (one === two) continue;
      const level = `s0:c${Math.min(one, two)},c${Math.max(one, two)}`;
      if (!this.#uses.has(level)) return level;
    }
    throw new TsError('ResourceExhausted', 'SELinux: no pair of categories is free', {
      advice: `raise selinux_category_range, which is ${this.#range}`,
    });
  }

  /** Counts a label in, of this request or of an earlier daemon. */
  reserve(label: string): void {
    const { level } = parse(label);
    if (level !== '') this.#uses.set(level, (this.#uses.get(level) ?? 0) + 1);
  }

  /** Gives a label back; its level is free when nobody else has it. */
  release(label: string): void {
    const { level } = parse(label);
    const uses = this.#uses.get(level) ?? 0;
    if (uses <= 1) this.#uses.delete(level);
    else this.#uses.set(level, uses - 1);
  }

  /** The label that a process really gets: none when it is privileged, the virtual machine's type for Kata. */
  applied(label: string, options: { isPrivileged: boolean; runtimeType: string }): string {
    if (options.isPrivileged || label === '') return '';
    const kvm = this.#contexts?.kvmProcess ?? '';
    if (!options.runtimeType.includes('io.containerd.kata') || kvm === '') return label;
    return format({ ...parse(label), type: parse(kvm).type });
  }
}

/** `user:role:type:level`, of which the level may have colons. */
function parse(label: string): Context {
  const [user = '', role = '', type = '', ...level] = label.split(':');
  return { user, role, type, level: level.join(':') };
}

function format({ user, role, type, level }: Context): string {
  return [user, role, type, ...(level === '' ? [] : [level])].join(':');
}
