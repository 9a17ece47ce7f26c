// node test/run.ts [PART…]: what `make test` runs once the programs are built. Installs the peers, checks style and
// types, then runs every *.test.ts, first those beside the code, then those of whole programs below test/. With
// arguments, only test files whose path contains one of them. The totals are the last lines of the output.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { watchResults } from './test-results.ts';

const root = join(import.meta.dirname, '..');
const parts = process.argv.slice(2);
/** A hanging program must not hang the whole run: no file takes longer, on slow machines too. */
const FILE_TIMEOUT_MS = 600_000;

interface Totals {
  passed: number;
  readonly failures: string[];
  readonly skips: string[];
}
const totals: Totals = { passed: 0, failures: [], skips: [] };
const startMs = performance.now();

if (parts.length === 0) {
  command('peers', [process.execPath, 'test/peers/install.ts']);
  command('lint', [
    'node_modules/.bin/biome',
    'check',
    '--error-on-warnings',
    '--max-diagnostics=50',
  ]);
  command('types', ['node_modules/.bin/tsc', '-p', '.']);
}
const files = testFiles('').filter((path) => {
  return parts.length === 0 || parts.some((part) => path.includes(part));
});
const isWholeProgram = (path: string) => path.startsWith('test/');
await runTests(
  files.filter((path) => !isWholeProgram(path)),
  2,
);
// One file at a time: they share the machine's cgroups, mounts and processor, and measure time-outs.
await runTests(files.filter(isWholeProgram), 1);
printTotals();
process.exitCode = totals.failures.length === 0 ? 0 : 1;

function command(name: string, argv: string[]): void {
  const [program = '', ...args] = argv;
  const result = spawnSync(program, args, { cwd: root, stdio: 'inherit' });
  if (result.status === 0) totals.passed++;
  else totals.failures.push(`${name}: ${argv.join(' ')} exited with ${result.status}`);
}

/** Test files in the order of their paths; generated code and packages hold none of ours. */
function testFiles(directory: string): string[] {
  const skipped = ['node_modules', 'dist', '.git', 'internal/api/generated'];
  return readdirSync(join(root, directory), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = directory === '' ? entry.name : `${directory}/${entry.name}`;
      if (entry.isDirectory()) return skipped.includes(path) ? [] : testFiles(path);
      return path.endsWith('.test.ts') ? [path] : [];
    });
}

async function runTests(paths: string[], concurrency: number): Promise<void> {
  if (paths.length === 0) return;
  const stream = run({
    files: paths.map((path) => join(root, path)),
    concurrency,
    cwd: root,
    timeout: FILE_TIMEOUT_MS,
  });
  watchResults(stream, root, ({ file, name, outcome, detail }) => {
    if (outcome === 'passed') totals.passed++;
    else if (outcome === 'failed') totals.failures.push(`${file}: ${name}`);
    else totals.skips.push(`${file}: ${name} (${detail})`);
  });
  const reporter = stream.compose(new spec());
  for await (const chunk of reporter) process.stdout.write(chunk as string);
}

function printTotals(): void {
  const { passed, failures, skips } = totals;
  const lines = [''];
  if (skips.length > 0) lines.push('Skipped:', ...skips.map((text) => `  ${text}`), '');
  if (failures.length > 0) lines.push('Failed:', ...failures.map((text) => `  ${text}`), '');
  lines.push(
    `ℹ tests ${passed + failures.length + skips.length}`,
    `ℹ pass ${passed}`,
    `ℹ fail ${failures.length}`,
    `ℹ skipped ${skips.length}`,
    `ℹ duration ${((performance.now() - startMs) / 1000).toFixed(1)} s`,
    `${passed} passed, ${failures.length} failed, ${skips.length} skipped`,
  );
  console.log(lines.join('\n'));
}
