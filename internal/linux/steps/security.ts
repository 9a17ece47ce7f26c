import { flags, named } from '../constants/flags.ts';
import { KeyctlOperation, SeccompFlag, SeccompOperation } from '../constants/process.ts';
import { bytesOf, Memory } from '../program/argument.ts';
import type { Step } from '../program/step.ts';

/** Bytes of one struct sock_filter. */
export const BPF_INSTRUCTION_BYTES = 8;

/**
 * seccomp(2) SECCOMP_SET_MODE_FILTER with a compiled filter (an array of struct sock_filter). The
 * result is 0, or the listener's fd with SECCOMP_FILTER_FLAG_NEW_LISTENER. The steps after it are
 * filtered as well.
 */
export function setSeccompFilter(filter: Uint8Array, names: readonly SeccompFlag[] = []): Step {
  const instructions = bytesOf(filter);
  const count = filter.length / BPF_INSTRUCTION_BYTES;
  const program = new Memory(
    16,
    () => `{${count} instructions}`,
    (view, placement) => {
      view.setUint16(0, count, true); // struct sock_fprog: length, pointer
      view.setBigUint64(8, BigInt(placement.memory(instructions)), true);
    },
  );
  const operation = named(SeccompOperation, 'SECCOMP_SET_MODE_FILTER');
  const args = [operation, flags(SeccompFlag, names), program];
  return { label: 'set seccomp filter', call: 'seccomp', args };
}

/** keyctl(2): a new session keyring; the result is its serial number. */
export function joinSessionKeyring(name: string): Step {
  const args = [named(KeyctlOperation, 'KEYCTL_JOIN_SESSION_KEYRING'), name];
  return { label: `join session keyring ${name}`, call: 'keyctl', args };
}
