import { readFileSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { SeccompAction, SeccompAttribute, SeccompOperator } from './constants/seccomp.ts';
import { koffi } from './koffi.ts';
import { createMemfd } from './memfd.ts';
import type { SeccompSection } from './seccomp-program.ts';

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
  syscallName(architecture: number, number: number): string | null;
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
      syscallName: bind<'syscallName'>('seccomp_syscall_resolve_num_arch', 'str!', [
        'uint32_t',
        'int',
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
    const token = architectureToken(this.#library, name);
    const result = this.#library.addArchitecture(this.#context, token);
    if (result !== -EEXIST) this.#check(`add seccomp architecture ${name}`, result);
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

function architectureToken(library: Library, name: string): number {
  const token = library.resolveArchitecture(name.replace(/^SCMP_ARCH_/, '').toLowerCase());
  if (token === 0) throw new TsError('InvalidArgument', `unknown seccomp architecture ${name}`);
  return token;
}

/** Where a system call is found on an architecture. */
export interface SyscallPlace {
  readonly number: number;
  /** One of many behind this number: only if the first argument has this value. */
  readonly selector?: bigint;
}

/** libseccomp's tables: which number a name has where. */
export class SyscallTable {
  readonly #library: Library;
  #directX86: Map<string, number> | undefined;

  /** Throws Unavailable if libseccomp is missing. */
  constructor() {
    library ??= loadLibrary();
    this.#library = library;
  }

  /** How an architecture calls; undefined if filters for it are not generated here. */
  static section(architecture: number): Omit<SeccompSection, 'calls'> | undefined {
    const isX32 = architecture === SCMP_ARCH_X32;
    const isKnown = (architecture & (AUDIT_ARCH_LE | AUDIT_ARCH_CONVENTION)) === AUDIT_ARCH_LE;
    if (!isKnown || !IS_LITTLE_ENDIAN) return undefined;
    return {
      auditArchitecture: isX32 ? AUDIT_ARCH_X86_64 : architecture,
      isX32,
      is64Bit: (architecture & AUDIT_ARCH_64BIT) !== 0,
    };
  }

  /** libseccomp's number of the architecture this process runs on: but for x32 AUDIT_ARCH_*. */
  get native(): number {
    return this.#library.nativeArchitecture();
  }

  /** The same of an architecture by its OCI name. */
  architecture(name: string): number {
    return architectureToken(this.#library, name);
  }

  /** The number of a call on an architecture; negative if it has none of its own. */
  number(architecture: number, name: string): number {
    return this.#library.resolveSyscallOf(architecture, name);
  }

  /**
   * Where a call is on an architecture: nowhere, at its number, or behind socketcall(2) or ipc(2) and
   * mostly, since Linux 4.3 and 5.1, at a number too. Undefined if that is not known here.
   */
  places(architecture: number, name: string): readonly SyscallPlace[] | undefined {
    const number = this.number(architecture, name);
    if (number >= 0) return [{ number }];
    const multiplexer = MULTIPLEXERS.find(({ first, last }) => number <= first && number >= last);
    if (multiplexer === undefined) return [];
    if (architecture !== SCMP_ARCH_X86) return undefined;
    const behind = {
      number: this.#library.resolveSyscallOf(architecture, multiplexer.name),
      selector: BigInt(multiplexer.first + 1 - number),
    };
    const direct = this.#directNumbers().get(name);
    return direct === undefined ? [behind] : [behind, { number: direct }];
  }

  /** libseccomp tells these only when asked the other way round. */
  #directNumbers(): Map<string, number> {
    if (this.#directX86 !== undefined) return this.#directX86;
    const names = new Map<string, number>();
    for (let number = FIRST_DIRECT_X86; number <= LAST_DIRECT_X86; number++) {
      const name = this.#library.syscallName(SCMP_ARCH_X86, number);
      if (name !== null) names.set(name, number);
    }
    this.#directX86 = names;
    return names;
  }
}

const SCMP_ARCH_X86 = 0x40000003;
const SCMP_ARCH_X32 = 0x4000003e;
const AUDIT_ARCH_X86_64 = 0xc000003e;
/** Bits of AUDIT_ARCH_* (linux/audit.h): the convention is of MIPS n32. */
const AUDIT_ARCH_64BIT = 0x80000000;
const AUDIT_ARCH_LE = 0x40000000;
const AUDIT_ARCH_CONVENTION = 0x20000000;
/** Of this machine; node:os would be loaded for one answer, and compiled at each start. */
const IS_LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
/** Pseudo numbers of libseccomp; the first one has the selector 1. */
const MULTIPLEXERS = [
  { name: 'socketcall', first: -101, last: -120 },
  { name: 'ipc', first: -201, last: -224 },
] as const;
/** From recvmmsg to msgctl. */
const FIRST_DIRECT_X86 = 337;
const LAST_DIRECT_X86 = 402;

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
