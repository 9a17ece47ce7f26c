import { openCgroup } from '../cgroups/index.ts';
import { TsError } from '../errors/index.ts';
import { readContainerState } from './container-state.ts';
import type { RuntimeOptions } from './runtime-options.ts';

/** Pids of all processes of a container, as this process sees them. */
export function containerPids(options: RuntimeOptions, id: string): number[] {
  return openCgroup(readContainerState(options.root, id).cgroupPaths).allPids();
}

/**
 * The lines that ps(1) prints for a container's processes, below its header. `args` are ps's own;
 * they must leave a column PID.
 */
export function containerProcessTable(
  options: RuntimeOptions,
  id: string,
  args: readonly string[],
): string {
  const pids = new Set(containerPids(options, id));
  const { spawnSync } = process.getBuiltinModule('node:child_process');
  const psArgs = args.length === 0 ? ['-ef'] : args;
  const { error, status, stdout, stderr } = spawnSync('ps', psArgs, { encoding: 'utf8' });
  if (error !== undefined) throw TsError.from(error, 'run ps');
  if (status !== 0) {
    throw new TsError('InvalidArgument', `ps ${psArgs.join(' ')}: ${stderr.trim()}`);
  }
  return selectProcesses(stdout, pids);
}

/** The header and the lines whose PID is one of `pids`. */
export function selectProcesses(table: string, pids: ReadonlySet<number>): string {
  const [header = '', ...lines] = table.split('\n');
  const column = header.trim().split(/\s+/).indexOf('PID');
  if (column === -1) {
    throw new TsError('InvalidArgument', "couldn't find PID field in ps output", {
      advice: 'choose ps options that print a column PID',
    });
  }
  const own = lines.filter((line) => pids.has(Number(line.trim().split(/\s+/)[column])));
  return `${[header, ...own].join('\n')}\n`;
}
