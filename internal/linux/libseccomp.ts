import { readFileSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { SeccompAction, SeccompAttribute, SeccompOperator } from './constants/seccomp.ts';
import { koffi } from './koffi.ts';
import { createMemfd } from './memfd.ts';

/** A condition on one argument of a system call. `valueTwo` is for SCMP_CMP_MASKED_EQ. */
export interface SeccompCondition {
  readonly index: number;
  readonly operator: SeccompOperator;
  readonly value: bigint;
  readonly valueTwo?: bigint;
}

interface Library {
  init(action: number): bigint;
  release(context: bigint): void;
  addArchitecture(context: bigint, token: number): number;
  resolveArchitecture(name: string): number;
  nativeArchitecture(): number;
  setAttribute(context: bigint, attribute: number, value: number): number;
  resolveSyscall(name: string): number;
  resolveSyscallOf(architecture: number, name: string): number;
  addRule(
    context: bigint,
    action: number,
    syscall: number,
    count: number,
    conditions: Uint8Array | null,
  ): number;
  exportBpf(context: bigint, fd: number): number;
}

let library: Library | undefined;

/** libseccomp of the host, version 2, loaded at the first use. */
function loadLibrary(): Library {
  const name = 'libseccomp.so.2';
  try {
    const loaded = koffi().load(name);
    const bind = <Key extends keyof Library>(symbol: string, result: string, args: string[]) =>
      loaded.func(symbol, result, args) as unknown as Library[Key];
    const rule = ['void *', 'uint32_t', 'int', 'unsigned int', 'void *'];
    return {
      init: bind<'init'>('seccomp_init', 'void *', ['uint32_t']),
      release: bind<'release'>('seccomp_release', 'void', ['void *']),
      addArchitecture: bind<'addArchitecture'>('seccomp_arch_add', 'int', ['void *', 'uint32_t']),
      resolveArchitecture: bind<'resolveArchitecture'>('seccomp_arch_resolve_name', 'uint32_t', [
        'str',
      ]),
      nativeArchitecture: bind<'nativeArchitecture'>('seccomp_arch_native', 'uint32_t', []),
      setAttribute: bind<'setAttribute'>('seccomp_attr_set', 'int', ['void *', 'int', 'uint32_t']),
      resolveSyscall: bind<'resolveSyscall'>('seccomp_syscall_resolve_name', 'int', ['str']),
      resolveSyscallOf: bind<'resolveSyscallOf'>('seccomp_syscall_resolve_name_arch', 'int', [
        'uint32_t',
        'str',
      ]),
      addRule: bind<'addRule'>('seccomp_rule_add_array', 'int', rule),
      exportBpf: bind<'exportBpf'>('seccomp_export_bpf', 'int', ['void *', 'int']),
    };
  } catch (thrown) {
    throw new TsError('Unavailable', `load ${name}`, {
      cause: thrown,
      code: 'TS_LIBSECCOMP_MISSING',
      advice: 'install libseccomp2, or remove linux.seccomp from config.json',
    });
  }
}

const EEXIST = 17;
const CONDITION_BYTES = 24;
/** __NR_SCMP_ERROR: no architecture knows the name. */
const UNKNOWN_SYSCALL = -1;
/** Pseudo numbers of what is behind socketcall(2), -101 to -120, and ipc(2), -201 to -224. */
const LAST_PSEUDO_SOCKETCALL = -101;
const FIRST_PSEUDO_SOCKETCALL = -120;
const FIRST_PSEUDO_IPC = -224;

/**
 * A seccomp filter that libseccomp compiles to BPF. It knows the system calls of all architectures,
 * and how each of them passes arguments.
 */
export class SeccompFilter implements Disposable {
  readonly #library: Library;
  #context: bigint;

  /** `errno` is what SCMP_ACT_ERRNO returns (or SCMP_ACT_TRACE tells the tracer). */
  constructor(defaultAction: SeccompAction, errno = 0) {
    library ??= loadLibrary();
    this.#library = library;
    this.#context = this.#library.init(actionNumber(defaultAction, errno));
    if (!this.#context) {
      throw new TsError('InvalidArgument', `create seccomp filter with ${defaultAction}: EINVAL`);
    }
  }

  setAttribute(attribute: SeccompAttribute, value: number): void {
    const number = SeccompAttribute[attribute];
    this.#check(`set ${attribute}`, this.#library.setAttribute(this.#context, number, value));
  }

  /** An architecture beside the native one, by its OCI name (`SCMP_ARCH_X86`). */
  addArchitecture(name: string): void {
    const token = this.architectureToken(name);
    const result = this.#library.addArchitecture(this.#context, token);
    if (result !== -EEXIST) this.#check(`add seccomp architecture ${name}`, result);
  }

  /** The token of the architecture that this process runs on. */
  get nativeArchitecture(): number {
    return this.#library.nativeArchitecture();
  }

  /** libseccomp's number of an architecture; but for x32 the kernel's AUDIT_ARCH_*. */
  architectureToken(name: string): number {
    const token = this.#library.resolveArchitecture(name.replace(/^SCMP_ARCH_/, '').toLowerCase());
    if (token === 0) throw new TsError('InvalidArgument', `unknown seccomp architecture ${name}`);
    return token;
  }

  /** The number of a system call of an architecture; negative if it has none. */
  syscallNumber(token: number, syscall: string): number {
    const number = this.#library.resolveSyscallOf(token, syscall);
    const isMultiplexed = number <= LAST_PSEUDO_SOCKETCALL && number >= FIRST_PSEUDO_IPC;
    if (!isMultiplexed) return number;
    // One of many calls behind a single number, and since Linux 4.3 or 5.1 also one of its own, which
    // libseccomp does not tell: what came right after those stands for it.
    const next = number >= FIRST_PSEUDO_SOCKETCALL ? 'mlock2' : 'clock_gettime64';
    return this.#library.resolveSyscallOf(token, next);
  }

  /** A rule; all conditions must hold. False: no architecture has a system call of this name. */
  addRule(
    syscall: string,
    action: SeccompAction,
    errno = 0,
    conditions: readonly SeccompCondition[] = [],
  ): boolean {
    const number = this.#library.resolveSyscall(syscall);
    if (number === UNKNOWN_SYSCALL) return false;
    const bytes = conditions.length === 0 ? null : encodeConditions(conditions);
    const context = this.#context;
    const value = actionNumber(action, errno);
    const result = this.#library.addRule(context, value, number, conditions.length, bytes);
    this.#check(`add seccomp rule ${action} for ${syscall}`, result);
    return true;
  }

  /** The compiled filter: an array of struct sock_filter. */
  compile(): Uint8Array {
    using file = createMemfd('seccomp');
    this.#check('compile seccomp filter', this.#library.exportBpf(this.#context, file.number));
    return readFileSync(`/proc/self/fd/${file.number}`);
  }

  [Symbol.dispose](): void {
    if (this.#context) this.#library.release(this.#context);
    this.#context = 0n;
  }

  #check(operation: string, result: number): void {
    if (result < 0) throw TsError.ofErrno(-result, operation);
  }
}

/** The low 16 bits of an action are its data. */
function actionNumber(action: SeccompAction, errno: number): number {
  const hasData = action === 'SCMP_ACT_ERRNO' || action === 'SCMP_ACT_TRACE';
  return (SeccompAction[action] | (hasData ? errno & 0xffff : 0)) >>> 0;
}

/** struct scmp_arg_cmp: argument, operator (32 bits each), two values of 64 bits. */
function encodeConditions(conditions: readonly SeccompCondition[]): Buffer {
  const bytes = Buffer.alloc(conditions.length * CONDITION_BYTES);
  conditions.forEach(({ index, operator, value, valueTwo = 0n }, position) => {
    const offset = position * CONDITION_BYTES;
    bytes.writeUInt32LE(index, offset);
    bytes.writeUInt32LE(SeccompOperator[operator], offset + 4);
    bytes.writeBigUInt64LE(BigInt.asUintN(64, value), offset + 8);
    bytes.writeBigUInt64LE(BigInt.asUintN(64, valueTwo), offset + 16);
  });
  return bytes;
}
