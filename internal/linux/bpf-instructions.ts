/**
 * The eBPF instructions that a device filter of cgroup v2 is made of, 8 bytes each (RFC 9669), and
 * what such a filter sees (struct bpf_cgroup_dev_ctx of linux/bpf.h).
 */

/** 0 is the result, 1 at first the context; all five are free to use. */
export type BpfRegister = 0 | 1 | 2 | 3 | 4 | 5;

/** Byte offsets in the context. */
export const BpfDeviceContext = {
  /** Type in the low 16 bits, access in the high ones. */
  accessType: 0,
  major: 4,
  minor: 8,
} as const;

/** BPF_DEVCG_DEV_BLOCK and BPF_DEVCG_DEV_CHAR. */
export const BpfDeviceType = { b: 1, c: 2 } as const;

/** BPF_DEVCG_ACC_*: bits of what is asked for. */
export const BpfDeviceAccess = { mknod: 1, read: 2, write: 4 } as const;

export const bpfInstruction = {
  /** to = the 32 bits at `offset` from the address in `from` */
  load: (to: BpfRegister, from: BpfRegister, offset: number) => encode(0x61, to, from, offset, 0),
  /** to = value */
  set: (to: BpfRegister, value: number) => encode(0xb7, to, 0, 0, value),
  /** to = the low 32 bits of `from` */
  copy: (to: BpfRegister, from: BpfRegister) => encode(0xbc, to, from, 0, 0),
  /** to &= value, in 32 bits */
  and: (to: BpfRegister, value: number) => encode(0x54, to, 0, 0, value),
  /** to >>= bits, in 32 bits, without sign */
  shiftRight: (to: BpfRegister, bits: number) => encode(0x74, to, 0, 0, bits),
  /** Skips the next `skip` instructions if register == value. */
  jumpIfEqual: (register: BpfRegister, value: number, skip: number) =>
    encode(0x15, register, 0, skip, value),
  /** Skips the next `skip` instructions if register != value. */
  jumpUnlessEqual: (register: BpfRegister, value: number, skip: number) =>
    encode(0x55, register, 0, skip, value),
  /** Ends the program. */
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
