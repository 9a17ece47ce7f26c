import { readFileSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import type { CriuRefusal } from './criu-process.ts';

/** `(00.081754) pid: Error (criu/util.c:1534): text`; the place in CRIU's source is for its authors. */
const ERROR_LINE = /^(?:\([0-9.]+\)\s*)?(?:\d+:\s*)?Error \([^)]*\):\s*(.*)$/;

/** Errors that say no more than that something failed before, or that harm nothing. */
const SAYS_NOTHING =
  /FAILED\.?$|^(?:\d+ )?exited, status=|killed by signal|^rlimit: Can't setup RLIMIT_NOFILE|^tun: Unable to create tun/;

const GREATEST_COUNT = 3;

/** The last errors in a log of CRIU's that say something, in their order; at most three. */
export function criuErrors(log: string): string[] {
  const errors = log
    .split('\n')
    .map((line) => ERROR_LINE.exec(line.trim())?.[1]?.trim() ?? '')
    .filter((text) => text !== '' && !SAYS_NOTHING.test(text));
  return [...new Set(errors)].slice(-GREATEST_COUNT);
}

/** What the errors ask for. The other options are named by CRIU itself. */
const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [
    /Locking network failed|iptables-restore/,
    'install iptables, or write "network-lock nftables" or "network-lock skip" into /etc/criu/runc.conf',
  ],
  [
    /Can't lookup mount=.* for fd=/,
    'a file of the host is open in the container: see --ext-unix-sk and stdio',
  ],
  [
    /No mapping for .* mountpoint/,
    'the checkpoint has another mount of the host than the container: restore with the runtime and the mounts that it was made with',
  ],
];

/** The error of a dump or restore that CRIU refused, with what its log says. The log stays. */
export function criuError(operation: string, refusal: CriuRefusal, logPath: string): TsError {
  const errors = criuErrors(readLog(logPath));
  const said = errors.length > 0 ? errors.join('; ') : refusal.text || `errno ${refusal.errno}`;
  const remedy = REMEDIES.find(([pattern]) => pattern.test(said))?.[1];
  const advice = `see ${logPath}`;
  return new TsError('FailedPrecondition', `${operation}: criu: ${said}`, {
    code: 'TS_CRIU_FAILED',
    advice: remedy === undefined ? advice : `${remedy}; ${advice}`,
    fields: { errno: refusal.errno, path: logPath },
  });
}

function readLog(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // CRIU failed before it had a log
  }
}
