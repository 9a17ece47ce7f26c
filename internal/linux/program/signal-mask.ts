import { syscall } from '../syscall.ts';

/** rt_sigprocmask's `how` (asm-generic/signal-defs.h). */
const SIG_SETMASK = 2;
const MASK_BYTES = 8;

/** Calls `action` with every signal blocked in this thread, and restores the mask after it. */
export function withSignalsBlocked(action: () => void): void {
  const all = new Uint8Array(MASK_BYTES).fill(0xff);
  const before = new Uint8Array(MASK_BYTES);
  setMask(all, before);
  try {
    action();
  } finally {
    setMask(before, null);
  }
}

function setMask(mask: Uint8Array, before: Uint8Array | null): void {
  const operation = () => 'set the signal mask';
  syscall(operation, 'rt_sigprocmask', SIG_SETMASK, mask, before, MASK_BYTES);
}
