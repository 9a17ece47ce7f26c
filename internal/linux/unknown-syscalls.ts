/**
 * A seccomp filter that denies by default denies also the system calls which came after it was
 * written. A C library that meets EPERM gives up; at ENOSYS it falls back to an older call. So calls
 * beyond the last one that the profile knows get ENOSYS before the filter is asked
 * (opencontainers/runc issue 2151).
 */

/** The greatest number of a system call that a profile names, for one architecture. */
export interface KnownSyscalls {
  /** libseccomp's number of the architecture. */
  readonly token: number;
  /** Negative if it names none: then nothing is newer. */
  readonly last: number;
}

/** x32 is an architecture to libseccomp, to the kernel it is x86-64 with a bit in the call's number. */
const SCMP_ARCH_X32 = 0x4000003e;
const AUDIT_ARCH_X86_64 = 0xc000003e;
const X32_BIT = 0x40000000;

const NUMBER_OFFSET = 0; // of struct seccomp_data
const ARCHITECTURE_OFFSET = 4;
const RET_ENOSYS = 0x00050026; // SECCOMP_RET_ERRNO with ENOSYS

const LOAD = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP = 0x05; // BPF_JMP | BPF_JA
const JUMP_IF_EQUAL = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_IF_GREATER = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const JUMP_IF_NOT_LESS = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN = 0x06; // BPF_RET | BPF_K

interface Instruction {
  readonly code: number;
  readonly operand: number;
  /** Where to go on: a label, or the next instruction. */
  readonly ifTrue?: string;
  readonly ifFalse?: string;
  readonly label?: string;
}

/** Instructions (struct sock_filter) to put in front of a filter. */
export function unknownSyscallGuard(known: readonly KnownSyscalls[]): Uint8Array {
  const x32 = known.find(({ token, last }) => token === SCMP_ARCH_X32 && last >= 0);
  const program: Instruction[] = [{ code: LOAD, operand: ARCHITECTURE_OFFSET }];
  known.forEach(({ token, last }, index) => {
    if (token === SCMP_ARCH_X32 || last < 0) return;
    const next = `after ${index}`;
    program.push({ code: JUMP_IF_EQUAL, operand: token, ifFalse: next });
    program.push({ code: LOAD, operand: NUMBER_OFFSET });
    if (token === AUDIT_ARCH_X86_64) {
      const ifTrue = x32 === undefined ? 'filter' : 'x32';
      program.push({ code: JUMP_IF_NOT_LESS, operand: X32_BIT, ifTrue });
    }
    program.push({ code: JUMP_IF_GREATER, operand: last, ifTrue: 'unknown', ifFalse: 'filter' });
    if (token === AUDIT_ARCH_X86_64 && x32 !== undefined) {
      const operand = (x32.last | X32_BIT) >>> 0;
      const go = { ifTrue: 'unknown', ifFalse: 'filter' };
      program.push({ code: JUMP_IF_GREATER, operand, ...go, label: 'x32' });
    }
    program.push({ code: JUMP, operand: 0, label: next });
  });
  program.push({ code: JUMP, operand: 1 }); // over the next, to the filter
  program.push({ code: RETURN, operand: RET_ENOSYS, label: 'unknown' });
  return assemble(program);
}

/** Labels become distances; `filter` is what follows. A jump with operand 0 is only a place. */
function assemble(program: readonly Instruction[]): Uint8Array {
  const positions = new Map<string, number>([['filter', program.length]]);
  program.forEach(({ label }, index) => {
    if (label !== undefined) positions.set(label, index);
  });
  const bytes = Buffer.alloc(program.length * 8);
  program.forEach(({ code, operand, ifTrue, ifFalse }, index) => {
    const distance = (label: string | undefined): number =>
      label === undefined ? 0 : (positions.get(label) ?? index + 1) - index - 1;
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(distance(ifTrue), index * 8 + 2);
    bytes.writeUInt8(distance(ifFalse), index * 8 + 3);
    bytes.writeUInt32LE(operand >>> 0, index * 8 + 4);
  });
  return bytes;
}
