// Runs a program once and measures it. libuv's spawn is not used: it does not tell the processor time of a child. And a
// child's peak memory as the kernel reports it is never less than that of the process that started it (the program
// replaces a memory that is its parent's), so that is left to GNU time, which is tiny.
import { spawnSync } from 'node:child_process';
import { koffi } from '../../internal/linux/koffi.ts';

/** One run. */
export interface Sample {
  readonly wallMs: number;
  /** User and system time of the process and of the children that it waited for. */
  readonly cpuMs: number;
}

interface Libc {
  spawn(argv: readonly string[]): number;
  wait(pid: number): { status: number; cpuMs: number };
}

let libc: Libc | undefined;

/** Runs `argv` with its output thrown away. Throws an Error when it does not exit with status 0. */
export function measure(argv: readonly string[]): Sample {
  libc ??= loadLibc();
  const startNs = process.hrtime.bigint();
  const pid = libc.spawn(argv);
  const { status, cpuMs } = libc.wait(pid);
  const wallMs = Number(process.hrtime.bigint() - startNs) / 1e6;
  if (status !== 0) {
    const again = spawnSync(argv[0] ?? '', argv.slice(1), { encoding: 'utf8' });
    throw new Error(`${argv.join(' ')}: wait status ${status}: ${again.stderr.trim()}`);
  }
  return { wallMs, cpuMs };
}

/** The peak resident memory of a run, measured by GNU time at the path `timeProgram`. */
export function peakMemoryKb(timeProgram: string, argv: readonly string[]): number {
  const run = spawnSync(timeProgram, ['-f', '%M', ...argv], {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
  });
  if (run.status !== 0) throw new Error(`${argv.join(' ')}: ${run.stderr.trim()}`);
  return Number(run.stderr.trim().split('\n').at(-1));
}

/** The middle of the values; the mean of the two in the middle when their number is even. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const [upper = 0, lower = 0] = [sorted[half], sorted[half - 1]];
  return sorted.length % 2 === 1 ? upper : (lower + upper) / 2;
}

function loadLibc(): Libc {
  const k = koffi();
  const library = k.load('libc.so.6');
  // posix_spawn_file_actions_t and struct rusage are opaque here: room enough for both, of which two times are read.
  const actions = Buffer.alloc(256);
  const posixSpawn = library.func(
    'int posix_spawn(_Out_ int *pid, str path, void *actions, void *attributes, str *argv, str *envp)',
  );
  const wait4 = library.func('int wait4(int pid, _Out_ int *status, int options, void *rusage)');
  library.func('int posix_spawn_file_actions_init(void *actions)')(actions);
  const open = library.func(
    'int posix_spawn_file_actions_addopen(void *actions, int fd, str path, int flags, uint32_t mode)',
  );
  for (const fd of [0, 1, 2]) open(actions, fd, '/dev/null', 2, 0);
  return {
    spawn(argv) {
      const pid = [0];
      const environment = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
      const error = posixSpawn(
        pid,
        argv[0],
        actions,
        null,
        [...argv, null],
        [...environment, null],
      );
      if (error !== 0) throw new Error(`start ${argv[0]}: error ${error}`);
      return pid[0] ?? 0;
    },
    wait(pid) {
      const status = [0];
      const rusage = Buffer.alloc(256);
      if (wait4(pid, status, 0, rusage) !== pid) throw new Error(`wait for process ${pid}`);
      // struct rusage begins with ru_utime and ru_stime: seconds and microseconds, 8 bytes each.
      const timeMs = (at: number) => {
        return (
          Number(rusage.readBigInt64LE(at)) * 1e3 + Number(rusage.readBigInt64LE(at + 8)) / 1e3
        );
      };
      return { status: status[0] ?? -1, cpuMs: timeMs(0) + timeMs(16) };
    },
  };
}
