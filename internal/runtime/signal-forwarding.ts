import { constants } from 'node:os';
import { kill } from '../linux/index.ts';
import type { ForegroundTerminal } from './foreground-terminal.ts';

/** Not forwarded: what cannot be caught, is about this process alone, or is the terminal's. */
const OWN = new Set(['SIGKILL', 'SIGSTOP', 'SIGCHLD', 'SIGURG', 'SIGPIPE', 'SIGWINCH']);

/** Aliases of other names, and faults of this process itself. */
const NOT_SENT = new Set([
  ...['SIGPOLL', 'SIGIOT', 'SIGUNUSED', 'SIGCLD'],
  ...['SIGSEGV', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGSYS', 'SIGPROF'],
]);

/** Sends every signal that this process gets to the container's, until disposed. */
export function forwardSignals(pid: number, terminal: ForegroundTerminal | undefined): Disposable {
  const handlers: [NodeJS.Signals, () => void][] = [];
  for (const [name, number] of Object.entries(constants.signals)) {
    if (OWN.has(name) || NOT_SENT.has(name)) continue;
    handlers.push([name as NodeJS.Signals, () => void kill(pid, number)]);
  }
  if (terminal !== undefined) handlers.push(['SIGWINCH', () => terminal.resize()]);
  for (const [name, handler] of handlers) process.on(name, handler);
  return {
    [Symbol.dispose]() {
      for (const [name, handler] of handlers) process.off(name, handler);
    },
  };
}
