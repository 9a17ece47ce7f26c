import { flags } from '../constants/flags.ts';
import { MemoryPolicy, MemoryPolicyFlag } from '../constants/memory-policy.ts';
import { Memory, Named } from '../program/argument.ts';
import type { Step } from '../program/step.ts';

const BITS_PER_WORD = 64;

/** A set of small numbers as the kernel takes it: words of 64 bits, number N is bit N. */
function bitSet(numbers: readonly number[]): Memory {
  const words = Math.floor(Math.max(0, ...numbers) / BITS_PER_WORD) + 1;
  const text = () => `{${numbers.join(', ')}}`;
  return new Memory(words * 8, text, (view) => {
    for (const number of numbers) {
      const byte = Math.floor(number / 8);
      view.setUint8(byte, view.getUint8(byte) | (1 << (number % 8)));
    }
  });
}

/** sched_setaffinity(2) of this process. EINVAL: none of the processors is online and allowed. */
export function setCpuAffinity(cpus: readonly number[]): Step {
  const set = bitSet(cpus);
  return { label: 'set CPU affinity', call: 'sched_setaffinity', args: [0, set.size, set] };
}

/** set_mempolicy(2) of this process; what it executes inherits the policy. */
export function setMemoryPolicy(
  mode: MemoryPolicy,
  nodes: readonly number[] = [],
  names: readonly MemoryPolicyFlag[] = [],
): Step {
  const set = bitSet(nodes);
  const extra = flags(MemoryPolicyFlag, names);
  const modeAndFlags = new Named(MemoryPolicy[mode] | Number(extra.value), () =>
    [mode, ...names].join('|'),
  );
  // The kernel looks at one bit less than maxnode says.
  const args = nodes.length === 0 ? [modeAndFlags, null, 0] : [modeAndFlags, set, set.size * 8 + 1];
  return { label: `set memory policy ${mode}`, call: 'set_mempolicy', args };
}
