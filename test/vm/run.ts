// node test/vm/run.ts [--short] [--cgroup v2|hybrid] [PART…]: runs tests in the virtual machine; without PARTs all of the
// form's, else the files whose path contains one. `make test-vm` calls it. The totals are its last lines.
import { parseArgs } from 'node:util';
import type { TestResult } from '../test-results.ts';
import { filesOf, prepareMachine, runInMachine } from './machine.ts';
import { type Form, type Layout, suites } from './suite.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { short: { type: 'boolean' }, cgroup: { type: 'string' } },
});
const form: Form = values.short === true ? 'short' : 'whole';
/** For all of it, with building the machine: see README.md for what parts of it took. */
const DEADLINE_S = 5 * 3600;

const startMs = performance.now();
const missing = prepareMachine();
if (missing !== false) {
  console.error(missing);
  process.exit(1);
}
let passed = 0;
const failures: string[] = [];
const skips: string[] = [];

function report(layout: Layout, { file, name, outcome, detail, durationMs }: TestResult): void {
  const place = `${layout}: ${file}: ${name}`;
  const mark = { passed: '✔', failed: '✖', skipped: '﹣' }[outcome];
  console.log(`${mark} ${place} (${Math.round(durationMs)} ms)`);
  if (outcome === 'failed') console.log(detail.replace(/^/gm, '    '));
  if (outcome === 'passed') passed++;
  else if (outcome === 'failed') failures.push(place);
  else skips.push(`${place} (${detail})`);
}

/**
 * Runs files in one boot. If the machine dies on the way (QEMU without KVM makes kernels crash now and then), another boot
 * takes over with the file whose results came last, once for each file.
 */
async function runAll(layout: Layout, files: string[]): Promise<void> {
  const onOutput = (text: string) => process.stderr.write(text);
  const retried = new Set<string>();
  let rest = files;
  while (rest.length > 0) {
    const timeoutS = Math.floor(DEADLINE_S - (performance.now() - startMs) / 1000);
    if (timeoutS <= 0) {
      failures.push(`${layout}: no time is left for ${rest.join(', ')}`);
      return;
    }
    let current = rest[0];
    let results: TestResult[] = [];
    const flush = (): void => {
      for (const each of results) report(layout, each);
      results = [];
    };
    try {
      for await (const result of runInMachine(rest, { layout, timeoutS, onOutput })) {
        if (result.file !== current && rest.includes(result.file)) {
          flush();
          current = result.file;
        }
        results.push(result);
      }
      flush();
      return;
    } catch (thrown) {
      const from = current ?? '';
      console.log(`the machine died in ${from} or at the begin of the next file: ${thrown}`);
      rest = rest.slice(rest.indexOf(from));
      if (!retried.has(from)) {
        retried.add(from);
        continue;
      }
      flush();
      failures.push(`${layout}: ${from}: the machine died twice`);
      rest.shift();
    }
  }
}

for (const layout of ['v2', 'hybrid'] as const satisfies Layout[]) {
  if (values.cgroup !== undefined && values.cgroup !== layout) continue;
  const patterns = suites[form].flatMap(({ layouts, files }) =>
    layouts.includes(layout) ? files : [],
  );
  const files = filesOf(patterns, positionals);
  if (files.length === 0) continue;
  console.log(`\n${files.length} test files, cgroup ${layout}`);
  await runAll(layout, files);
}
const lines = [''];
if (skips.length > 0) lines.push('Skipped:', ...skips.map((text) => `  ${text}`), '');
if (failures.length > 0) lines.push('Failed:', ...failures.map((text) => `  ${text}`), '');
lines.push(
  `ℹ duration ${((performance.now() - startMs) / 1000).toFixed(1)} s`,
  `${passed} passed, ${failures.length} failed, ${skips.length} skipped`,
);
console.log(lines.join('\n'));
process.exitCode = failures.length === 0 && passed > 0 ? 0 : 1;
