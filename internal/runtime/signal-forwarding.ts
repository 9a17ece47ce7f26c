import { kill, Signal, type SignalName } from '../linux/index.ts';
import type { ForegroundTerminal } from './foreground-terminal.ts';

/** Not forwarded: what cannot be caught, is about this process alone, or is the terminal's. */
const OWN = new Set(['SIGKILL', 'SIGSTOP', 'SIGCHLD', 'SIGURG', 'SIGPIPE', 'SIGWINCH']);

/** Faults of this process itself. */
const NOT_SENT = new Set([
  ...['SIGSEGV', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGSYS', 'SIGPROF'],
]);

/**
 * Sends every signal that this process gets to the container's, until disposed; then signals do nothing, for the process has
 * little to do any more but to clean up and to end.
 */
export function forwardSignals(pid: number, terminal: ForegroundTerminal | undefined): Disposable {
  let isThere = true;
  const forward = (signal: number) => () => {
    if (isThere) kill(pid, signal);
  };
  for (const [name, number] of Object.entries(Signal)) {
    if (!OWN.has(name) && !NOT_SENT.has(name)) process.on(name as SignalName, forward(number));
  }
  if (terminal !== undefined) {
    process.on('SIGWINCH', () => {
      if (isThere) terminal.resize();
    });
  }
  return {
    [Symbol.dispose]() {
      isThere = false;
    },
  };
}
