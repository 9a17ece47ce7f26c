// node test/bench/main.ts [--rounds N] [--part start|run|lifecycle|catalogue|memory|ctr|shim|pull|slow-disk|cri|cri-bridge|cri-ten] [--write]: measures our programs and the originals in turn
// (ours, theirs, ours, theirs, …), so that what else the machine does meets both, and prints Markdown tables or puts them
// into the README.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { catalogueTable } from './catalogue-table.ts';
import { criTable } from './cri-table.ts';
import { ctrTable } from './ctr-table.ts';
import { lifecycleTable } from './lifecycle-table.ts';
import { memoryTable } from './memory-table.ts';
import { pullTable } from './pull-table.ts';
import { machine } from './report.ts';
import { runTable } from './run-table.ts';
import { shimTable } from './shim-table.ts';
import { slowDiskTable } from './slow-disk-table.ts';
import { startTable } from './start-table.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '30' },
    part: {
      type: 'string',
      multiple: true,
      default: [
        ...['start', 'run', 'lifecycle', 'catalogue', 'memory', 'ctr', 'shim', 'pull', 'slow-disk'],
        ...['cri', 'cri-bridge', 'cri-ten'],
      ],
    },
    write: { type: 'boolean', default: false },
    inside: { type: 'boolean', default: false },
  },
});
if (process.getuid?.() !== 0) {
  console.error('Containers need root here: run it as "sudo make bench".');
  process.exit(1);
}
if (!values.inside) {
  // crun wants the v1 hierarchy hugetlb where other v1 hierarchies are. It is mounted for this measurement alone, in a
  // mount namespace of its own, and all runtimes see it.
  const self = [process.execPath, ...process.argv.slice(1), '--inside'];
  const inner = spawnSync('unshare', ['--mount', ...self], { stdio: 'inherit' });
  process.exit(inner.status ?? 1);
}
mountHugetlb();

const rounds = Number(values.rounds);
const sections = [`Measured ${machine()}; medians of ${rounds} rounds, ours and theirs in turn.`];
console.log(sections[0]);
for (const [part, measureTable] of [
  ['start', () => startTable(rounds)],
  ['run', () => runTable(rounds)],
  ['lifecycle', () => lifecycleTable(rounds)],
  ['catalogue', () => catalogueTable(rounds)],
  ['memory', memoryTable],
  ['ctr', () => ctrTable(rounds)],
  ['shim', () => shimTable(rounds)],
  ['pull', () => pullTable(Math.ceil(rounds / 5))],
  ['slow-disk', slowDiskTable],
  ['cri', () => criTable({ network: 'host', atOnce: 1, rounds })],
  ['cri-bridge', () => criTable({ network: 'bridge', atOnce: 1, rounds })],
  ['cri-ten', () => tenAtOnce(Math.ceil(rounds / 5))],
] as const) {
  if (!values.part.includes(part)) continue;
  const text = await measureTable();
  sections.push(text);
  console.log(`\n${text}`);
}
if (values.write) writeFigures(sections.join('\n\n'));
process.exit();

async function tenAtOnce(times: number): Promise<string> {
  const load = { atOnce: 10, rounds: times };
  const host = await criTable({ ...load, network: 'host' });
  return `${host}\n\n${await criTable({ ...load, network: 'bridge' })}`;
}

/** Puts the tables into the README, between the lines that mark their place. */
function writeFigures(text: string): void {
  const path = join(import.meta.dirname, '../../README.md');
  const readme = readFileSync(path, 'utf8');
  const begin = '<!-- made by: node test/bench/main.ts --write -->';
  const end = '<!-- end of the figures -->';
  const [from, to] = [readme.indexOf(begin), readme.indexOf(end)];
  if (from < 0 || to < from) throw new Error('README.md: no place for the figures');
  writeFileSync(path, `${readme.slice(0, from + begin.length)}\n${text}\n\n${readme.slice(to)}`);
}

function mountHugetlb(): void {
  const mountinfo = readFileSync('/proc/self/mountinfo', 'utf8');
  const hasV1 = / - cgroup cgroup .*\bmemory\b/.test(mountinfo);
  if (!hasV1 || / - cgroup cgroup .*\bhugetlb\b/.test(mountinfo)) return;
  const target = '/sys/fs/cgroup/hugetlb';
  const script = `mkdir -p ${target} && mount -t cgroup -o hugetlb cgroup ${target}`;
  const existed = existsSync(target);
  const run = spawnSync('sh', ['-c', script], { encoding: 'utf8' });
  if (run.status !== 0) console.error(`mount hugetlb for crun: ${run.stderr.trim()}`);
  process.on('exit', () => {
    if (!existed) spawnSync('sh', ['-c', `umount ${target}; rmdir ${target}`]);
  });
}
