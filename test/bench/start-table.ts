// How long our programs take to say their version, beside an empty program in the same Node with the same options.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { binaries } from '../../build/binaries.ts';
import { makeEmptyProgram } from './empty-program.ts';
import { measure, median, type Sample } from './measure.ts';
import { ms, table } from './report.ts';

const root = join(import.meta.dirname, '../..');

/** Measures and prints the table. */
export async function startTable(rounds: number): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'bench-start-'));
  try {
    const subjects = Object.entries(binaries).map(([name, binary]) => {
      const empty = join(dir, name);
      makeEmptyProgram(binary, empty);
      const ours = [join(root, 'dist/bin', name), name.includes('shim') ? '-v' : '--version'];
      return {
        name,
        ours,
        empty: [empty],
        samples: { ours: [] as Sample[], empty: [] as Sample[] },
      };
    });
    for (let round = 0; round < rounds; round++) {
      for (const { ours, empty, samples } of subjects) {
        samples.ours.push(measure(ours));
        samples.empty.push(measure(empty));
      }
    }
    const rows = subjects.map(({ name, samples }) => {
      const [ours, empty] = [samples.ours, samples.empty].map((list) => ({
        wall: median(list.map((sample) => sample.wallMs)),
        cpu: median(list.map((sample) => sample.cpuMs)),
      }));
      if (ours === undefined || empty === undefined) throw new Error('no samples');
      const ratio = (ours.wall / empty.wall).toFixed(2);
      return [
        `\`${name} --version\``,
        ms(ours.wall),
        ms(ours.cpu),
        ms(empty.wall),
        ms(empty.cpu),
        ratio,
      ];
    });
    return table(['start-up', 'wall', 'CPU', 'empty: wall', 'empty: CPU', 'ratio'], rows);
  } finally {
    rmSync(dir, { recursive: true });
  }
}
