// The three programs and the options that Node starts each of them with. Options are part of the executable (SEA
// `execArgv`), since nothing outside it may change them: neither NODE_OPTIONS nor an OpenSSL configuration file.

import type { Part } from './bundle.ts';
import type { FirstMemory } from './lean-node.ts';

/** What one program is built from and how it is started. */
export interface Binary {
  /** Entry point, relative to the repository. */
  readonly entry: string;
  /** Options of V8. The code cache is bound to them: it must be made under the very same ones. */
  readonly v8Options: readonly string[];
  /**
   * How much of its chunks is compiled at build time. Everything: no function is compiled at run time, and all of the
   * chunk's code is in memory. Outermost: functions are compiled when they are called, and only those are in memory.
   */
  readonly compile: 'everything' | 'outermost';
  /** Programs inside of it that share no code with the rest: each is one part, and holds nothing that it does not need. */
  readonly parts?: readonly Part[];
  /** A list of the functions of `parts`, or without parts of all chunks, that are compiled at build time, beside this file (test/bench/called-functions*.ts). */
  readonly called?: string;
  /** What its memory begins with; without it, pages as they are used. */
  readonly memory?: FirstMemory;
  /** For a program of some tens of milliseconds: more of it may be in memory than it uses, so that it is there at once (sea.ts). */
  readonly isShortLived?: boolean;
  /** Options of Node itself. */
  readonly nodeOptions: readonly string[];
  /** Entry points of worker threads, relative to the repository, by the name of the asset that holds their bundle. */
  readonly workers?: Readonly<Record<string, string>>;
}

/**
 * Options of Node for all three.
 * - `--openssl-config=/dev/null`: else OPENSSL_CONF names a file that may load a provider, foreign code that runs as
 *   root before the first line of ours.
 * - `--disable-sigusr1`: else SIGUSR1 opens the debugger on a TCP port, and a thread waits for it from the start.
 */
const everyProgram = ['--openssl-config=/dev/null', '--disable-sigusr1'];

/** A command of tsrunc that engines call for each container, with the modules that do it. */
function single(command: string, ...modules: readonly string[]): Part {
  return {
    entry: `cmd/tsrunc/single/${command}.ts`,
    always: modules.map((module) => `internal/${module}.ts`),
    isShortLived: true,
  };
}

/** The programs by name. */
export const binaries: Readonly<Record<string, Binary>> = {
  tsrunc: {
    entry: 'cmd/tsrunc/main.ts',
    // A process of some tens of milliseconds: nothing that pays off later. Without compilers (--jitless) all code runs as
    // bytecode, which is made at build time: 6 of 79 ms less of processor time for a `run` than with the baseline compiler
    // alone; Maglev cost 2 ms more in the placing of a program of 190 steps. And V8 then has no memory that is both written
    // and executed. The fixed hash seed (with the snapshot's hashes taken as they are) is for tsrunc alone: it lives for one
    // command over one trusted file. A daemon with a known seed could be stalled by keys that all collide.
    v8Options: [
      '--no-rehash-snapshot',
      '--hash-seed=1',
      '--v8-pool-size=1',
      '--single-threaded',
      '--jitless',
      // Room for all that one command allocates: nothing is collected, which saves 3 ms of 53 in `run`.
      '--min-semi-space-size=16',
      '--max-semi-space-size=16',
      // Else the first seven calls of a function look each property up without what the call before has found.
      '--invocation-count-for-feedback-allocation=2',
      '--disable-wasm-trap-handler',
    ],
    compile: 'everything',
    memory: 'prepared',
    isShortLived: true,
    called: 'called-functions.json',
    parts: [
      single('create', 'runtime/cgroup-driver', 'linux/operation'),
      single('start', 'runtime/start', 'linux/operation'),
      single('state', 'runtime/status'),
      single('kill', 'runtime/kill', 'linux/operation'),
      single('delete', 'runtime/delete', 'linux/operation'),
      single('run', 'runtime/run', 'runtime/cgroup-driver', 'linux/operation'),
      single('exec', 'runtime/exec-run', 'linux/operation'),
    ],
    nodeOptions: everyProgram,
  },
  'containerd-shim-tsrunc-v2': {
    entry: 'cmd/containerd-shim-tsrunc-v2/main.ts',
    // One for each pod, idle for most of its life: collecting needs no threads, and the young generation may otherwise
    // grow to 32 MB under a burst of exec and stays so for long. The hash seed is random: a shim lives as long as its pod
    // and reads what others send. One thread in the background is enough for it, whereas Node starts four, each with a
    // stack and a heap of malloc's.
    // The compilers come in ten times as late as usual, that of single functions without optimisation hardly ever: what a pod
    // needs is called some dozens of times and what an exec needs some more, and compiling it took a tenth of all
    // that a pod costs, without making 400 execs any faster. Without them the lines of a log would take five times as long.
    v8Options: [
      '--single-threaded-gc',
      '--max-semi-space-size=1',
      '--invocation-count-for-maglev=4000',
      '--invocation-count-for-turbofan=30000',
      '--baseline-batch-compilation-threshold=1000000',
    ],
    compile: 'outermost',
    // It has as much private memory as before once it is idle: less code was compiled, and the rest of a huge page is left.
    memory: 'huge-heap',
    called: 'called-functions-shim.json',
    nodeOptions: [...everyProgram, '--v8-pool-size=1'],
  },
  tscontainerd: {
    entry: 'cmd/tscontainerd/main.ts',
    // V8 as it is: one process for each node, which unpacks images and serves many clients. Smaller heaps and fewer
    // threads were tried on the idle daemon: its private memory stayed within 4 % of 18 MB.
    v8Options: [],
    compile: 'outermost',
    // The daemon without what other commands and the client need.
    parts: [{ entry: 'cmd/tscontainerd/serve.ts', always: [] }],
    called: 'called-functions-daemon.json',
    nodeOptions: everyProgram,
    workers: { 'snapshot-worker.js': 'internal/snapshots/worker.ts' },
  },
};

/** Architectures as Node and npm name them. */
export type Arch = 'x64' | 'arm64';
