import { TsError } from '../errors/index.ts';
import { OwnedFd } from './fd.ts';
import { koffi } from './koffi.ts';
import { rawSyscall, syscall } from './syscall.ts';

/** bpf(2) commands and types that cgroup device rules need (linux/bpf.h). */
const BPF_PROG_LOAD = 5;
const BPF_PROG_ATTACH = 8;
const BPF_PROG_DETACH = 9;
const BPF_PROG_GET_FD_BY_ID = 13;
const BPF_PROG_QUERY = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
const BPF_CGROUP_DEVICE = 6;
const BPF_F_ALLOW_MULTI = 2;
const BPF_F_REPLACE = 4;

const ATTRIBUTE_BYTES = 128;
const INSTRUCTION_BYTES = 8;
const LOG_BYTES = 64 * 1024;
const GREATEST_PROGRAM_COUNT = 64;

/**
 * Loads an eBPF program of type cgroup_device (an array of struct bpf_insn). If the kernel's verifier
 * refuses it, the error has the verifier's last line.
 */
export function loadDeviceProgram(instructions: Uint8Array): OwnedFd {
  const license = Buffer.from('Apache-2.0\0');
  const attribute = Buffer.alloc(ATTRIBUTE_BYTES);
  attribute.writeUInt32LE(BPF_PROG_TYPE_CGROUP_DEVICE, 0);
  attribute.writeUInt32LE(instructions.length / INSTRUCTION_BYTES, 4);
  attribute.writeBigUInt64LE(koffi().address(instructions), 8);
  attribute.writeBigUInt64LE(koffi().address(license), 16);
  const loaded = rawSyscall('bpf', BPF_PROG_LOAD, attribute, ATTRIBUTE_BYTES);
  if (loaded >= 0) return new OwnedFd(loaded);

  const log = Buffer.alloc(LOG_BYTES); // only now: with a log the kernel takes longer
  attribute.writeUInt32LE(1, 24);
  attribute.writeUInt32LE(log.length, 28);
  attribute.writeBigUInt64LE(koffi().address(log), 32);
  const again = rawSyscall('bpf', BPF_PROG_LOAD, attribute, ATTRIBUTE_BYTES);
  if (again >= 0) return new OwnedFd(again);
  const text = log.toString('latin1', 0, log.indexOf(0)).trim().split('\n').at(-1) ?? '';
  const operation = text === '' ? 'load device program' : `load device program: ${text}`;
  throw TsError.ofErrno(-again, operation);
}

/** Attaches a program to a cgroup v2 directory, beside others or in the place of one. */
export function attachDeviceProgram(cgroup: number, program: OwnedFd, replaced?: OwnedFd): void {
  const attribute = Buffer.alloc(ATTRIBUTE_BYTES);
  attribute.writeUInt32LE(cgroup, 0);
  attribute.writeUInt32LE(program.number, 4);
  attribute.writeUInt32LE(BPF_CGROUP_DEVICE, 8);
  const flags = replaced === undefined ? BPF_F_ALLOW_MULTI : BPF_F_ALLOW_MULTI | BPF_F_REPLACE;
  attribute.writeUInt32LE(flags, 12);
  attribute.writeUInt32LE(replaced?.number ?? 0, 16);
  syscall(() => 'attach device program', 'bpf', BPF_PROG_ATTACH, attribute, ATTRIBUTE_BYTES);
}

/** Takes a program off a cgroup v2 directory. ENOENT: it is not attached there. */
export function detachDeviceProgram(cgroup: number, program: OwnedFd): void {
  const attribute = Buffer.alloc(ATTRIBUTE_BYTES);
  attribute.writeUInt32LE(cgroup, 0);
  attribute.writeUInt32LE(program.number, 4);
  attribute.writeUInt32LE(BPF_CGROUP_DEVICE, 8);
  syscall(() => 'detach device program', 'bpf', BPF_PROG_DETACH, attribute, ATTRIBUTE_BYTES);
}

/** The device programs that are attached to a cgroup v2 directory itself. The caller owns the fds. */
export function attachedDevicePrograms(cgroup: number): OwnedFd[] {
  const ids = Buffer.alloc(GREATEST_PROGRAM_COUNT * 4);
  const query = Buffer.alloc(ATTRIBUTE_BYTES);
  query.writeUInt32LE(cgroup, 0);
  query.writeUInt32LE(BPF_CGROUP_DEVICE, 4);
  query.writeBigUInt64LE(koffi().address(ids), 16);
  query.writeUInt32LE(GREATEST_PROGRAM_COUNT, 24);
  syscall(() => 'list device programs', 'bpf', BPF_PROG_QUERY, query, ATTRIBUTE_BYTES);
  return Array.from({ length: query.readUInt32LE(24) }, (_, position) => {
    const attribute = Buffer.alloc(ATTRIBUTE_BYTES);
    attribute.writeUInt32LE(ids.readUInt32LE(position * 4), 0);
    const operation = () => 'open device program';
    const command = BPF_PROG_GET_FD_BY_ID;
    return new OwnedFd(syscall(operation, 'bpf', command, attribute, ATTRIBUTE_BYTES));
  });
}
