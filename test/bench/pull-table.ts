// Pull with unpack from a registry on this machine, and import: throughput, processor time and peak memory of the daemon.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCtr } from '../fixtures/ctr.ts';
import { type DaemonKind, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { imageArchive, type LayerCompression } from '../fixtures/oci-image.ts';
import { TestRegistry } from '../fixtures/registry.ts';
import { median } from './measure.ts';
import { pullImage } from './pull-image.ts';
import { mb, ms, table } from './report.ts';

const KINDS: readonly DaemonKind[] = ['tscontainerd', 'containerd-2.1'];
const program = join(import.meta.dirname, '../../dist/bin/tscontainerd');
/** Ticks of /proc/PID/stat in a second (USER_HZ), on every architecture of Linux that we run on. */
const TICKS = 100;

interface Run {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly peakKb: number;
}

/** Measures and prints the table; each round pulls, or imports, with one daemon and the other in turn. */
export async function pullTable(rounds: number): Promise<string> {
  const skip = KINDS.map(skipWithout).find((reason) => reason !== false);
  if (skip !== undefined) return `Pulls were not measured: ${skip}.`;
  const rows: string[][] = [];
  for (const compression of ['gzip', 'zstd'] as const) {
    rows.push(...(await measureCompression(compression, rounds)));
  }
  const heading = ['300 MB in 6 layers', 'wall', 'CPU', 'peak RSS', 'throughput / containerd'];
  return table(heading, rows);
}

async function measureCompression(
  compression: LayerCompression,
  rounds: number,
): Promise<string[][]> {
  const image = await pullImage(compression);
  await using registry = await TestRegistry.start();
  const ref = registry.add(image, 'bench/pull');
  const dir = mkdtempSync(join(tmpdir(), 'bench-pull-'));
  const archive = join(dir, 'image.tar');
  try {
    writeFileSync(archive, await imageArchive(image));
    const works: [string, string[]][] = [
      [`pull, ${compression}`, ['images', 'pull', ref]],
      [`import, ${compression}`, ['images', 'import', archive]],
    ];
    const rows: string[][] = [];
    let number = 0;
    for (const [what, args] of works) {
      const runs = new Map<DaemonKind, Run[]>(KINDS.map((kind) => [kind, []]));
      for (let round = 0; round < rounds; round++) {
        for (const kind of KINDS) {
          const directory = join(dir, String(number++));
          mkdirSync(directory);
          runs.get(kind)?.push(await measureOnce(kind, args, directory));
        }
      }
      const wall = (kind: DaemonKind): number =>
        median((runs.get(kind) ?? []).map(({ wallMs }) => wallMs));
      for (const kind of KINDS) {
        const of = runs.get(kind) ?? [];
        rows.push([
          `${what}: ${kind}`,
          ms(wall(kind)),
          ms(median(of.map(({ cpuMs }) => cpuMs))),
          mb(Math.max(...of.map(({ peakKb }) => peakKb))),
          (wall('containerd-2.1') / wall(kind)).toFixed(2),
        ]);
      }
    }
    return rows;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/**
 * One piece of work by a daemon of its own: its peak of memory is that of the work. `directory` is removed when all is
 * measured: ext4 is slow to make files for some seconds after many were deleted.
 */
async function measureOnce(
  kind: DaemonKind,
  args: readonly string[],
  directory: string,
): Promise<Run> {
  const options = kind === 'tscontainerd' ? { program, directory } : { directory };
  await using daemon = await TestDaemon.start(kind, options);
  const cpuBefore = cpuMsOf(daemon.process.pid);
  const startMs = performance.now();
  const result = await runCtr('ctr-2.1', daemon.address, args);
  const wallMs = performance.now() - startMs;
  if (result.status !== 0) throw new Error(`${kind}: ctr ${args.join(' ')}: ${result.stderr}`);
  const cpuMs = cpuMsOf(daemon.process.pid) - cpuBefore;
  const status = readFileSync(`/proc/${daemon.process.pid}/status`, 'utf8');
  const peakKb = Number(/^VmHWM:\s*([0-9]+)/m.exec(status)?.[1]);
  return { wallMs, cpuMs, peakKb };
}

/** User and system time of a process and of the children that it waited for, in milliseconds. */
function cpuMsOf(pid: number | undefined): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index]), 0);
  return (ticks * 1000) / TICKS;
}
