// node test/run.ts [PART…]: what `make test` runs once the programs are built. Installs the peers, checks style and
// types, then runs every *.test.ts, first those beside the code, then those of whole programs below test/. With
// arguments, only test files whose path contains one of them. The totals are the last lines of the output.
//
// A file with a failure is run once more when all else is done: these tests start hundreds of programs on machines that
// others use too. What fails again has failed; what passes then is named in the totals as unsteady, to be mended.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Transform } from 'node:stream';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { setTimeout as sleep } from 'node:timers/promises';
import { endLeftHierarchy } from './peers/hybrid-cgroups.ts';
import { type TestResult, watchResults } from './test-results.ts';

const root = join(import.meta.dirname, '..');
const parts = process.argv.slice(2);
/** A hanging program must not hang the whole run: no file takes longer, on slow machines too. */
const FILE_TIMEOUT_MS = 600_000;
/** How much later the whole run gives a file up that does not end even then. */
const FILE_GRACE_MS = 30_000;
/** With more files than this something is broken, and nothing is run again. */
const MAX_REPEATED_FILES = 10;
const SLOWEST_FILES = 12;
/** How much the totals repeat of each failure: whoever sees only the end of the output knows what to look for. */
const DETAIL_LINES = 14;

interface Totals {
  passed: number;
  readonly failures: string[];
  /** Failed, and passed when the file was run again. */
  readonly unsteady: string[];
  readonly skips: string[];
  readonly seconds: Map<string, number>;
}
const totals: Totals = { passed: 0, failures: [], unsteady: [], skips: [], seconds: new Map() };
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
const results = await runTests(
  files.filter((path) => !isWholeProgram(path)),
  2,
);
// One file at a time: they share the machine's cgroups, mounts and processor, and measure time-outs.
for (const path of files.filter(isWholeProgram)) results.push(...(await runTests([path], 1)));
countResults(await repeatFailed(results));
printTotals();
process.exit(totals.failures.length === 0 ? 0 : 1);

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

/** The results of the tests in `paths`, whose output goes to stdout as they run. */
async function runTests(paths: string[], concurrency: number): Promise<TestResult[]> {
  if (paths.length === 0) return [];
  if (concurrency === 1) endLeftHierarchy();
  const fileStartMs = performance.now();
  const found: TestResult[] = [];
  const stream = run({
    files: paths.map((path) => join(root, path)),
    concurrency,
    cwd: root,
    timeout: FILE_TIMEOUT_MS,
  });
  watchResults(stream, root, (result) => found.push(result));
  const reporter = stream.pipe(withoutTotals()).pipe(new spec()).pipe(new PassThrough());
  reporter.pipe(process.stdout, { end: false });
  const ended = new Promise<true>((resolve) => reporter.once('end', () => resolve(true)));
  const rounds = Math.ceil(paths.length / concurrency);
  const deadline = new AbortController();
  const late = sleep(rounds * FILE_TIMEOUT_MS + FILE_GRACE_MS, false, { signal: deadline.signal });
  const isWhole = await Promise.race([ended, late.catch(() => false)]);
  deadline.abort();
  if (!isWhole) {
    endDescendants(process.pid);
    const name = `did not end within ${FILE_TIMEOUT_MS / 1000} s`;
    for (const file of paths) {
      found.push({ file, name, outcome: 'failed', detail: '', durationMs: FILE_TIMEOUT_MS });
    }
  }
  const [file, ...others] = paths;
  if (file !== undefined && others.length === 0) {
    totals.seconds.set(file, (performance.now() - fileStartMs) / 1000);
  }
  return found;
}

/** A test that waits for a program without an end hears no SIGTERM, and would hold its file open for ever. */
function endDescendants(pid: number): void {
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const children = readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1');
    for (const child of children.split(' ').filter((text) => text !== '')) {
      try {
        process.kill(Number(child), 'SIGSTOP'); // it starts no more of them
        endDescendants(Number(child));
        process.kill(Number(child), 'SIGKILL');
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'ESRCH' && code !== 'ENOENT') throw error; // it has ended by itself
      }
    }
  }
}

/** Leaves out what node's runner says of a run as a whole: ours is many runs. */
function withoutTotals(): Transform {
  return new Transform({
    objectMode: true,
    transform(event: { type: string; data: { file?: string } }, _encoding, callback) {
      const isTotal = event.type === 'test:diagnostic' && event.data.file === undefined;
      if (isTotal) callback();
      else callback(null, event);
    },
  });
}

/** Runs the files of `results` with failures again: the results that count. */
async function repeatFailed(results: readonly TestResult[]): Promise<TestResult[]> {
  const failed = results.filter(({ outcome }) => outcome === 'failed');
  const paths = [...new Set(failed.map(({ file }) => file))];
  if (paths.length > MAX_REPEATED_FILES) return [...results];
  const final = results.filter(({ file }) => !paths.includes(file));
  for (const path of paths) {
    console.log(`\nOnce more, as it had failures: ${path}`);
    const again = await runTests([path], 1);
    final.push(...again);
    const name = ({ name }: TestResult) => name;
    const failedAgain = again.filter(({ outcome }) => outcome === 'failed').map(name);
    const passedNow = failed.filter(({ file }) => file === path).map(name);
    for (const test of passedNow.filter((test) => !failedAgain.includes(test))) {
      totals.unsteady.push(`${path}: ${test}`);
    }
  }
  return final;
}

function countResults(results: readonly TestResult[]): void {
  for (const { file, name, outcome, detail } of results) {
    if (outcome === 'passed') totals.passed++;
    else if (outcome === 'failed') totals.failures.push(`${file}: ${name}${shortened(detail)}`);
    else totals.skips.push(`${file}: ${name} (${detail})`);
  }
}

/** The first lines of an error's text, indented. */
function shortened(detail: string): string {
  const lines = detail.split('\n').filter((line) => line.trim() !== '');
  return lines
    .slice(0, DETAIL_LINES)
    .map((line) => `\n      ${line}`)
    .join('');
}

function printTotals(): void {
  const { passed, failures, unsteady, skips, seconds } = totals;
  const slowest = [...seconds].sort((a, b) => b[1] - a[1]).slice(0, SLOWEST_FILES);
  const lines = [
    ...titled('Skipped', skips),
    ...titled(
      'Slowest',
      slowest.map(([file, time]) => `${time.toFixed(0).padStart(4)} s ${file}`),
    ),
    ...titled('Unsteady (failed at first, passed when the file was run again)', unsteady),
    ...titled('Failed', failures),
    '',
    `ℹ tests ${passed + failures.length + skips.length}`,
    `ℹ pass ${passed}`,
    `ℹ fail ${failures.length}`,
    `ℹ skipped ${skips.length}`,
    `ℹ duration ${((performance.now() - startMs) / 1000).toFixed(1)} s`,
    `${passed} passed, ${failures.length} failed, ${skips.length} skipped`,
  ];
  console.log(lines.join('\n'));
}

function titled(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', `${title}:`, ...lines.map((line) => `  ${line}`)];
}
