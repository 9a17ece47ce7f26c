// The virtual machine, seen from outside: whether it can be had here, and test files run in it. README.md tells what is in it.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { cacheDirectory } from '../peers/install.ts';
import type { TestResult } from '../test-results.ts';
import { bootingFile, type Layout } from './suite.ts';

const root = join(import.meta.dirname, '../..');
const vm = join(import.meta.dirname, 'vm');

/** For the option `skip` of tests that only the machine can run: false inside of it. */
export function machineOnly(): false | string {
  const isInside = existsSync('/run/tsrunc-vm/agent');
  return isInside ? false : 'runs in the virtual machine: make test-vm';
}

/** The cgroup layout of this machine, as `vm run --cgroup` names it. */
export function layoutHere(): Layout {
  return existsSync('/sys/fs/cgroup/cgroup.controllers') ? 'v2' : 'hybrid';
}

/** Builds the machine if it is not there yet. Returns why it cannot be had, or false. */
export function prepareMachine(): false | string {
  if (process.arch !== 'x64') return 'the virtual machine is for x86-64';
  if (!existsSync(join(root, 'dist/bin/tsrunc'))) return 'dist/bin/tsrunc is not built';
  // What it prints is for people who wait for it, and its last line says why it failed.
  const built = spawnSync(vm, ['build'], { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });
  if (built.status === 0) return false;
  return `no virtual machine: ${built.stderr.trim().split('\n').at(-1) ?? built.error?.message}`;
}

/** The test files that patterns name, in order, each once. */
export function filesOf(patterns: readonly string[], parts: readonly string[] = []): string[] {
  const found = patterns.flatMap((pattern) => globSync(pattern, { cwd: root }).sort());
  return [...new Set(found)].filter(
    (path) =>
      path !== bootingFile && (parts.length === 0 || parts.some((part) => path.includes(part))),
  );
}

/** How to boot. */
export interface BootOptions {
  readonly layout: Layout;
  readonly timeoutS: number;
  /** 2 if absent. One is slower, and steadier under emulation: see `vm` on code that is patched while it runs. */
  readonly processors?: number;
  /** Where the output of the tests goes; nowhere if absent. */
  readonly onOutput?: (text: string) => void;
}

/**
 * Boots the machine once, runs test files in it and yields each result as it comes. Throws an Error with the end of what
 * was printed if the machine dies, is too slow, or the runner inside fails in another way than by a test.
 */
export async function* runInMachine(
  files: readonly string[],
  { layout, timeoutS, processors = 2, onOutput }: BootOptions,
): AsyncGenerator<TestResult> {
  const peers = cacheDirectory();
  const shares = [`${root}:${root}:ro`, ...(existsSync(peers) ? [`${peers}:${peers}:ro`] : [])];
  const child = spawn(
    vm,
    [
      ...['run', '--cgroup', layout, '--timeout', String(timeoutS)],
      ...['--mem', '3072', '--cpus', String(processors)],
      ...shares.flatMap((share) => ['--share', share]),
      ...['--', 'test/vm/guest', root, ...files],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let tail = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-4000);
    onOutput?.(text);
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  let hasFailed = false;
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const result = JSON.parse(line) as TestResult;
      hasFailed ||= result.outcome === 'failed';
      yield result;
    }
    const status = await ended;
    if (status !== 0 && !(status === 1 && hasFailed)) {
      throw new Error(`the tests in the machine ended with status ${status}:\n${tail}`);
    }
  } finally {
    child.kill(); // when the caller does not want the rest
  }
}
