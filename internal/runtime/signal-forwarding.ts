import { kill, Signal, type SignalName } from '../linux/index.ts';
import type { ForegroundTerminal } from './foreground-terminal.ts';

/** Not forwarded: what cannot be caught, is about this process alone, or is the terminal's. */
const OWN = new Set(['SIGKILL', 'SIGSTOP', 'SIGCHLD', 'SIGURG', 'SIGPIPE', 'SIGWINCH']);

/** Faults of this process itself. */
const NOT_SENT = new Set([
  ...['SIGSEGV', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGSYS', 'SIGPROF'],
]);

/** Sends every signal that this process gets to the container's, until disposed. */
export function forwardSignals(pid: number, terminal: ForegroundTerminal | undefined): Disposable {
  const handlers: [SignalName, () => void][] = [];
  for (const [name, number] of Object.entries(Signal)) {
    if (OWN.has(name) || NOT_SENT.has(name)) continue;
    handlers.push([name as SignalName, () => void kill(pid, number)]);
  }
  if (terminal !== undefined) handlers.push(['SIGWINCH', () => terminal.resize()]);
  for (const [name, handler] of handlers) process.on(name, handler);
  return {
    [Symbol.dispose]() {
      for (const [name, handler] of handlers) process.off(name, handler);
    },
  };
}
