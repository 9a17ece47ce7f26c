/**
 * The command line of a process, as `ps` and /proc/PID/cmdline show it, lies in its own memory: on the stack, where execve
 * put it. A process that was started for something else than it becomes writes its new one there (man 5 proc_pid_cmdline).
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { TsError } from '../errors/index.ts';

/** Places of arg_start and arg_end behind the name in parentheses (man 5 proc_pid_stat, fields 48 and 49). */
const ARG_START = 45;
const ARG_END = 46;

/**
 * Replaces the arguments of this process that others see; `process.argv` stays. They may not be longer than those that it
 * was started with: throws ResourceExhausted then.
 */
export function setProcessArguments(args: readonly string[]): void {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [start, end] = [Number(fields[ARG_START]), Number(fields[ARG_END])];
  const room = end - start;
  const text = Buffer.from(args.map((arg) => `${arg}\0`).join(''));
  if (!(text.length <= room)) {
    throw new TsError('ResourceExhausted', `arguments: ${text.length} bytes, room for ${room}`);
  }
  // Behind the last one are zeros: another last byte would mean that the line goes on in the environment.
  const whole = Buffer.alloc(room);
  text.copy(whole);
  const memory = openSync('/proc/self/mem', 'r+');
  try {
    writeSync(memory, whole, 0, room, start);
  } finally {
    closeSync(memory);
  }
}
