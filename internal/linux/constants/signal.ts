/** Signals by number (asm-generic/signal.h: the same on x86-64 and arm64), without aliases. */
export const Signal = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGSTKFLT: 16,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGURG: 23,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGVTALRM: 26,
  SIGPROF: 27,
  SIGWINCH: 28,
  SIGIO: 29,
  SIGPWR: 30,
  SIGSYS: 31,
} as const;
export type SignalName = keyof typeof Signal;

/** The first real-time signal as glibc counts them. */
export const SIGRTMIN = 34;
/** The last real-time signal. */
export const SIGRTMAX = 64;
/** The greatest signal of all. */
export const GREATEST_SIGNAL = 64;

const ALIASES: Readonly<Record<string, SignalName>> = {
  SIGIOT: 'SIGABRT',
  SIGCLD: 'SIGCHLD',
  SIGPOLL: 'SIGIO',
  SIGUNUSED: 'SIGSYS',
};

/**
 * The number of a signal as users write it: `9`, `KILL`, `sigkill`, `SIGRTMIN+3`, `RTMAX-1`.
 * 0, which is never sent and only asks whether one could be, is a number like others. Undefined if
 * there is no such signal.
 */
export function parseSignal(text: string): number | undefined {
  if (/^[0-9]{1,3}$/.test(text)) {
    const number = Number(text);
    return number <= GREATEST_SIGNAL ? number : undefined;
  }
  const upper = text.toUpperCase();
  const name = upper.startsWith('SIG') ? upper : `SIG${upper}`;
  if (Object.hasOwn(Signal, name)) return Signal[name as SignalName];
  if (Object.hasOwn(ALIASES, name)) return Signal[ALIASES[name] as SignalName];
  const realTime = /^SIGRTM(IN|AX)(?:([+-])([0-9]{1,2}))?$/.exec(name);
  if (realTime === null) return undefined;
  const [, end, sign, distance = '0'] = realTime;
  const offset = Number(distance) * (sign === '-' ? -1 : 1);
  const number = (end === 'IN' ? SIGRTMIN : SIGRTMAX) + offset;
  return number >= SIGRTMIN && number <= SIGRTMAX ? number : undefined;
}

/** `SIGKILL` for 9, `SIGRTMIN+3` for 37, `signal 99` for what has no name. */
export function signalName(number: number): string {
  for (const [name, value] of Object.entries(Signal)) if (value === number) return name;
  if (number === SIGRTMIN) return 'SIGRTMIN';
  if (number > SIGRTMIN && number <= SIGRTMAX) return `SIGRTMIN+${number - SIGRTMIN}`;
  return `signal ${number}`;
}
