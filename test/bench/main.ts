// node test/bench/main.ts [--rounds N] [--part start|run|memory]: measures our programs and the originals in turn (ours,
// theirs, ours, theirs, …), so that what else the machine does meets both, and prints Markdown tables.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { memoryTable } from './memory-table.ts';
import { machine } from './report.ts';
import { runTable } from './run-table.ts';
import { startTable } from './start-table.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '40' },
    part: { type: 'string', multiple: true, default: ['start', 'run', 'memory'] },
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
console.log(`Measured ${machine()}; medians of ${rounds} rounds, ours and theirs in turn.\n`);
if (values.part.includes('start')) console.log(`${await startTable(rounds)}\n`);
if (values.part.includes('run')) console.log(`${await runTable(rounds)}\n`);
if (values.part.includes('memory')) console.log(`${await memoryTable()}\n`);
process.exit();

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
