/**
 * bpf(2), as far as device filters of cgroup v2 need it: a few instructions, loading a program and
 * attaching it to a cgroup (linux/bpf.h, kernel Documentation/bpf/standardization/instruction-set).
 */
import { closeSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { koffi } from './koffi.ts';
import { rawSyscall, syscall } from './syscall.ts';

const Command = {
  PROG_LOAD: 5,
  PROG_ATTACH: 8,
  PROG_DETACH: 9,
  PROG_GET_FD_BY_ID: 13,
  PROG_QUERY: 16,
} as const;

const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
const BPF_CGROUP_DEVICE = 6;
const BPF_F_ALLOW_MULTI = 2;
const BPF_F_REPLACE = 4;
/** More filters on one cgroup than the kernel lets anybody attach (BPF_CGROUP_MAX_PROGS). */
const MAX_PROGRAMS = 64;

/** Registers: the result, the context (struct bpf_cgroup_dev_ctx), and scratch. */
export type BpfRegister = 0 | 1 | 2 | 3 | 4 | 5;

/** What a device filter sees: byte offsets in struct bpf_cgroup_dev_ctx. */
export const DeviceContext = {
  /** Type in the low 16 bits, access in the high ones. */
  accessType: 0,
  major: 4,
  minor: 8,
} as const;

/** Device types and access bits of {@link DeviceContext} (BPF_DEVCG_*). */
export const BpfDeviceType = { b: 1, c: 2 } as const;
export const BpfDeviceAccess = { mknod: 1, read: 2, write: 4 } as const;

/** eBPF instructions, 8 bytes each. */
export const bpf = {
  /** to = 32 bits at the context's `offset` */
  load: (to: BpfRegister, from: BpfRegister, offset: number) => encode(0x61, to, from, offset, 0),
  /** to = value */
  set: (to: BpfRegister, value: number) => encode(0xb7, to, 0, 0, value),
  /** to = from, the low 32 bits */
  copy: (to: BpfRegister, from: BpfRegister) => encode(0xbc, to, from, 0, 0),
  /** to &= value */
  and: (to: BpfRegister, value: number) => encode(0x54, to, 0, 0, value),
  /** to >>= bits, without sign */
  shiftRight: (to: BpfRegister, bits: number) => encode(0x74, to, 0, 0, bits),
  /** Skips `skip` instructions if register == value. */
  jumpIfEqual: (register: BpfRegister, value: number, skip: number) =>
    encode(0x15, register, 0, skip, value),
  /** Skips `skip` instructions if register != value. */
  jumpUnlessEqual: (register: BpfRegister, value: number, skip: number) =>
    encode(0x55, register, 0, skip, value),
  /** Ends with register 0 as the result. */
  exit: () => encode(0x95, 0, 0, 0, 0),
} as const;

function encode(
  opcode: number,
  to: BpfRegister,
  from: BpfRegister,
  offset: number,
  immediate: number,
): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  bytes[0] = opcode;
  bytes[1] = to | (from << 4);
  view.setInt16(2, offset, true);
  view.setInt32(4, immediate | 0, true);
  return bytes;
}

/** Zeroed union bpf_attr; what is not used must stay zero. */
function attributes(): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(144);
  return { bytes, view: new DataView(bytes.buffer) };
}

/**
 * Loads a device filter and returns its fd, owned by the caller. On an error of the verifier, its log
 * is in the error's `fields`.
 */
export function loadDeviceFilter(program: Uint8Array): number {
  const attempt = (log: Uint8Array | undefined): number => {
    const license = Buffer.from('Apache-2.0\0');
    const { bytes, view } = attributes();
    view.setUint32(0, BPF_PROG_TYPE_CGROUP_DEVICE, true);
    view.setUint32(4, program.length / 8, true);
    view.setBigUint64(8, koffi().address(program), true);
    view.setBigUint64(16, koffi().address(license), true);
    if (log !== undefined) {
      view.setUint32(24, 1, true); // log_level
      view.setUint32(28, log.length, true);
      view.setBigUint64(32, koffi().address(log), true);
    }
    return rawSyscall('bpf', Command.PROG_LOAD, bytes, bytes.length);
  };
  const fd = attempt(undefined);
  if (fd >= 0) return fd;
  const log = new Uint8Array(65536);
  const again = attempt(log);
  if (again >= 0) return again;
  const text = Buffer.from(log).toString('latin1').split('\0', 1)[0] ?? '';
  const error = TsError.ofErrno(-fd, 'load the device filter');
  throw new TsError(error.kind, error.message, {
    cause: error,
    fields: { ...error.fields, verifier: text.trim() },
  });
}

/**
 * Makes `filterFd` the only device filter that this runtime has on a cgroup; the filters in
 * `replaced` (from {@link DeviceFilters}) go. Access is denied if any filter, of parents too, denies.
 */
export function attachDeviceFilter(
  cgroupFd: number,
  filterFd: number,
  replaced: readonly number[],
): void {
  const [only] = replaced;
  const { bytes, view } = attributes();
  view.setUint32(0, cgroupFd, true);
  view.setUint32(4, filterFd, true);
  view.setUint32(8, BPF_CGROUP_DEVICE, true);
  // Replacing is atomic; with several, or before Linux 5.6, both filters hold for a moment.
  if (replaced.length === 1 && only !== undefined) {
    view.setUint32(12, BPF_F_ALLOW_MULTI | BPF_F_REPLACE, true);
    view.setUint32(16, only, true);
    if (rawSyscall('bpf', Command.PROG_ATTACH, bytes, bytes.length) >= 0) return;
    view.setUint32(16, 0, true);
  }
  view.setUint32(12, BPF_F_ALLOW_MULTI, true);
  syscall(() => 'attach the device filter', 'bpf', Command.PROG_ATTACH, bytes, bytes.length);
  for (const fd of replaced) detachDeviceFilter(cgroupFd, fd);
}

function detachDeviceFilter(cgroupFd: number, filterFd: number): void {
  const { bytes, view } = attributes();
  view.setUint32(0, cgroupFd, true);
  view.setUint32(4, filterFd, true);
  view.setUint32(8, BPF_CGROUP_DEVICE, true);
  syscall(() => 'detach a device filter', 'bpf', Command.PROG_DETACH, bytes, bytes.length);
}

/** The device filters attached to this very cgroup. */
export class DeviceFilters {
  readonly fds: readonly number[];

  constructor(cgroupFd: number) {
    const ids = new Uint32Array(MAX_PROGRAMS);
    const { bytes, view } = attributes();
    view.setUint32(0, cgroupFd, true);
    view.setUint32(4, BPF_CGROUP_DEVICE, true);
    view.setBigUint64(16, koffi().address(ids), true);
    view.setUint32(24, ids.length, true);
    syscall(() => 'list the device filters', 'bpf', Command.PROG_QUERY, bytes, bytes.length);
    const count = view.getUint32(24, true);
    const fds: number[] = [];
    for (const id of ids.subarray(0, count)) {
      const byId = attributes();
      byId.view.setUint32(0, id, true);
      const fd = rawSyscall('bpf', Command.PROG_GET_FD_BY_ID, byId.bytes, byId.bytes.length);
      if (fd >= 0) fds.push(fd); // else it was detached meanwhile
    }
    this.fds = fds;
  }

  [Symbol.dispose](): void {
    for (const fd of this.fds) closeSync(fd);
  }
}
