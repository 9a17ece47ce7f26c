import { kill, Signal, type SignalName } from '../linux/index.ts';
import type { ForegroundTerminal } from './foreground-terminal.ts';

/** Not forwarded: what cannot be caught, is about this process alone, or is the terminal's. */
const OWN = new Set(['SIGKILL', 'SIGSTOP', 'SIGCHLD', 'SIGURG', 'SIGPIPE', 'SIGWINCH']);

/** Faults of this process itself. */
const NOT_SENT = new Set([
  ...['SIGSEGV', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGSYS', 'SIGPROF'],
]);

/** Where signals go now. */
let target: { readonly pid: number; readonly terminal: ForegroundTerminal | undefined } | undefined;
const heard = new Set<SignalName>();

/**
 * Sends every signal that this process gets to the container's, until disposed; then signals do nothing, for the process has
 * little to do any more but to clean up and to end. So what hears them is not taken away.
 */
export function forwardSignals(pid: number, terminal: ForegroundTerminal | undefined): Disposable {
  target = { pid, terminal };
  for (const [name, number] of Object.entries(Signal)) {
    if (OWN.has(name) || NOT_SENT.has(name)) continue;
    hear(name as SignalName, () => {
      if (target !== undefined) kill(target.pid, number);
    });
  }
  if (terminal !== undefined) hear('SIGWINCH', () => target?.terminal?.resize());
  return {
    [Symbol.dispose]() {
      target = undefined;
    },
  };
}

function hear(name: SignalName, action: () => void): void {
  if (heard.has(name)) return;
  heard.add(name);
  process.on(name, action);
}
