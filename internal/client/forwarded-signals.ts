import { parseSignal } from '../linux/constants/signal.ts';
import { unblockSignal } from '../linux/signal-mask.ts';

/** What a person or a service manager sends to a program to reach what runs in it. */
const FORWARDED = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGCONT',
] as const;
/** On a terminal that is raw, keys reach the container as bytes; only what comes from outside is passed on. */
const ON_TERMINAL = ['SIGTERM', 'SIGHUP'] as const;

/** Passes signals to `send` until disposed of. */
export function forwardSignals(
  isTerminal: boolean,
  send: (signal: number) => Promise<unknown>,
): Disposable {
  const names = isTerminal ? ON_TERMINAL : FORWARDED;
  const handlers = names.map((name) => {
    const handler = (): void => {
      // A process that has just ended takes no signal; its exit is on the way.
      send(parseSignal(name) ?? 0).catch(() => undefined);
    };
    process.on(name, handler);
    return [name, handler] as const;
  });
  if (!isTerminal) unblockSignal('SIGUSR1'); // Node blocks it in the built program
  return {
    [Symbol.dispose]() {
      for (const [name, handler] of handlers) process.off(name, handler);
    },
  };
}
