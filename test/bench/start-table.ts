// How long our programs take to say their version, beside an empty program in the same Node with the same options.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { binaries } from '../../build/binaries.ts';
import { baseNode, koffiAddon } from '../../build/platform.ts';
import { makeSea } from '../../build/sea.ts';
import { measure, median, type Sample } from './measure.ts';
import { ms, table } from './report.ts';

const root = join(import.meta.dirname, '../..');

/** Measures and prints the table. The empty program exits as ours do, at once: that is the harder mark. */
export async function startTable(rounds: number): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'bench-start-'));
  try {
    const arch = process.arch === 'arm64' ? 'arm64' : 'x64';
    const node = baseNode(root, arch);
    const subjects = Object.entries(binaries).map(([name, binary]) => {
      const empty = join(dir, name);
      const assets = { 'koffi.node': koffiAddon(root, arch) };
      const code = 'process.exit(0);';
      makeSea({ binary, code, node, cacheMaker: [node], hostNode: node, assets }, empty);
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
