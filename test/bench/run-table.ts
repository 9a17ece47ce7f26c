// `run` of a container whose process is `true`, from a bundle: our runtime, runc and crun.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { peer } from '../peers/index.ts';
import { makeBundle } from './bundle.ts';
import { measure, median, peakMemoryKb, type Sample } from './measure.ts';
import { mb, ms, table } from './report.ts';

const ours = join(import.meta.dirname, '../../dist/bin/tsrunc');
/** Looked up when asked for: crun's path depends on the hierarchies that are mounted then. */
function candidates() {
  return [
    { name: 'tsrunc', path: ours, skip: existsSync(ours) ? false : 'not built' },
    { name: 'runc 1.3', ...peer('runc-1.3') },
    { name: 'runc 1.1', ...peer('runc-1.1') },
    { name: 'crun', ...peer('crun') },
  ];
}

/** Measures and prints the table; a runtime that is not there gets a row that says so. */
export async function runTable(rounds: number): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'bench-run-'));
  try {
    const bundle = join(dir, 'bundle');
    makeBundle(bundle, ['/bin/true']);
    let number = 0;
    const subjects = candidates().map(({ name, path, skip }) => {
      const state = join(dir, `state-${name.replace(' ', '-')}`);
      const argv = () => {
        number++;
        return [path, '--root', state, 'run', '--bundle', bundle, `bench-${process.pid}-${number}`];
      };
      return {
        name,
        skip,
        argv,
        samples: [] as Sample[],
        failure: undefined as string | undefined,
      };
    });
    const there = subjects.filter((subject) => subject.skip === false);
    for (let round = 0; round < rounds; round++) {
      for (const subject of there) {
        if (subject.failure !== undefined) continue;
        try {
          subject.samples.push(measure(subject.argv()));
        } catch (error) {
          subject.failure = error instanceof Error ? error.message : String(error);
        }
      }
    }
    const mark = subjects.find((subject) => subject.name === 'runc 1.3')?.samples ?? [];
    const wallOf = (samples: readonly Sample[]) => median(samples.map((sample) => sample.wallMs));
    const time = peer('time');
    const cpuOf = (samples: readonly Sample[]) => median(samples.map((sample) => sample.cpuMs));
    const rows = subjects.map(({ name, skip, argv, samples, failure }) => {
      const why = skip === false ? failure : skip;
      if (why !== undefined) return [`${name}: ${why}`, '', '', '', '', ''];
      const peak =
        time.skip === false ? mb(median([1, 2, 3].map(() => peakMemoryKb(time.path, argv())))) : '';
      const cpu = cpuOf(samples);
      return [
        name,
        ms(wallOf(samples)),
        ms(cpu),
        peak,
        (wallOf(samples) / wallOf(mark)).toFixed(2),
        (cpu / cpuOf(mark)).toFixed(2),
      ];
    });
    return table(
      ['`run` of `true`', 'wall', 'CPU', 'peak RSS', 'wall / runc 1.3', 'CPU / runc 1.3'],
      rows,
    );
  } finally {
    rmSync(dir, { recursive: true });
  }
}
