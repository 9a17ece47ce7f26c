import { readFileSync } from 'node:fs';
import { TsError } from '../errors/index.ts';

/** What an interface has carried. */
export interface InterfaceCounters {
  readonly name: string;
  readonly rxBytes: bigint;
  readonly rxPackets: bigint;
  readonly rxErrors: bigint;
  readonly rxDropped: bigint;
  readonly txBytes: bigint;
  readonly txPackets: bigint;
  readonly txErrors: bigint;
  readonly txDropped: bigint;
}

/** The interfaces of a process's network namespace, without loopback; none when the process has ended. */
export function networkCounters(pid: number): InterfaceCounters[] {
  try {
    return parseNetDev(readFileSync(`/proc/${pid}/net/dev`, 'utf8'));
  } catch (thrown) {
    const error = TsError.from(thrown, `network of process ${pid}`);
    // ESRCH and EINVAL: it ended while it was looked at.
    if (['ENOENT', 'ESRCH', 'EINVAL'].includes(String(error.fields['errno']))) return [];
    throw error;
  }
}

/** /proc/net/dev: two lines of headings, then eight counters in each direction (man 5 proc). */
export function parseNetDev(text: string): InterfaceCounters[] {
  return text
    .split('\n')
    .slice(2)
    .flatMap((line) => {
      const [name = '', counters = ''] = line.split(/:(.*)/);
      const numbers = counters.trim().split(/\s+/);
      if (numbers.length < 16 || name.trim() === 'lo') return [];
      const at = (index: number): bigint => BigInt(numbers[index] ?? 0);
      return [
        {
          name: name.trim(),
          rxBytes: at(0),
          rxPackets: at(1),
          rxErrors: at(2),
          rxDropped: at(3),
          txBytes: at(8),
          txPackets: at(9),
          txErrors: at(10),
          txDropped: at(11),
        },
      ];
    });
}
