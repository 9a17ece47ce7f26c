import {
  BpfDeviceAccess,
  BpfDeviceContext,
  BpfDeviceType,
  type BpfRegister,
  bpfInstruction as bpf,
} from '../linux/index.ts';
import { DeviceAccess, type DeviceTable } from './device-rules.ts';

/**
 * Device access of cgroup v2, which has no files for it: an eBPF program that the kernel asks before
 * each open and mknod (kernel Documentation/admin-guide/cgroup-v2.rst, Device controller).
 */

const RESULT: BpfRegister = 0;
const CONTEXT: BpfRegister = 1;
const TYPE: BpfRegister = 2;
const ACCESS: BpfRegister = 3;
const MAJOR: BpfRegister = 4;
const MINOR: BpfRegister = 5;

/** The program that decides as `table` does: 1 allows, 0 denies with EPERM. */
export function deviceFilter(table: DeviceTable): Uint8Array {
  const instructions = [
    bpf.load(TYPE, CONTEXT, BpfDeviceContext.accessType),
    bpf.copy(ACCESS, TYPE),
    bpf.and(TYPE, 0xffff),
    bpf.shiftRight(ACCESS, 16),
    bpf.load(MAJOR, CONTEXT, BpfDeviceContext.major),
    bpf.load(MINOR, CONTEXT, BpfDeviceContext.minor),
  ];
  for (const exception of table.exceptions) {
    // Built backwards: each test that fails skips what is left of this exception.
    const block = [bpf.set(RESULT, table.allowsByDefault ? 0 : 1), bpf.exit()];
    const skip = () => block.length;
    const bits = accessBits(exception.access);
    if (table.allowsByDefault) {
      // Denied if any of what is asked for is denied.
      block.unshift(bpf.jumpIfEqual(CONTEXT, 0, skip()));
      block.unshift(bpf.copy(CONTEXT, ACCESS), bpf.and(CONTEXT, bits));
    } else {
      // Allowed if nothing but what is allowed is asked for.
      block.unshift(bpf.jumpUnlessEqual(CONTEXT, 0, skip()));
      block.unshift(bpf.copy(CONTEXT, ACCESS), bpf.and(CONTEXT, ~bits));
    }
    if (exception.minor !== undefined) {
      block.unshift(bpf.jumpUnlessEqual(MINOR, exception.minor, skip()));
    }
    if (exception.major !== undefined) {
      block.unshift(bpf.jumpUnlessEqual(MAJOR, exception.major, skip()));
    }
    block.unshift(bpf.jumpUnlessEqual(TYPE, BpfDeviceType[exception.type], skip()));
    instructions.push(...block);
  }
  instructions.push(bpf.set(RESULT, table.allowsByDefault ? 1 : 0), bpf.exit());
  return Buffer.concat(instructions);
}

function accessBits(access: number): number {
  return (
    (access & DeviceAccess.mknod ? BpfDeviceAccess.mknod : 0) |
    (access & DeviceAccess.read ? BpfDeviceAccess.read : 0) |
    (access & DeviceAccess.write ? BpfDeviceAccess.write : 0)
  );
}
