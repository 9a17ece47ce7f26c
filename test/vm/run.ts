// node test/vm/run.ts [--short] [--cgroup v2|hybrid] [PART…]: runs tests in the virtual machine; without PARTs all of the
// form's, else the files whose path contains one. `make test-vm` calls it. The totals are its last lines.
import { parseArgs } from 'node:util';
import { filesOf, prepareMachine, runInMachine } from './machine.ts';
import { type Form, type Layout, suites } from './suite.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { short: { type: 'boolean' }, cgroup: { type: 'string' } },
});
const form: Form = values.short === true ? 'short' : 'whole';
const BOOT_TIMEOUT_S = 7200;

const missing = prepareMachine();
if (missing !== false) {
  console.error(missing);
  process.exit(1);
}
const startMs = performance.now();
let passed = 0;
const failures: string[] = [];
const skips: string[] = [];
for (const layout of ['v2', 'hybrid'] as const satisfies Layout[]) {
  if (values.cgroup !== undefined && values.cgroup !== layout) continue;
  const patterns = suites[form].flatMap(({ layouts, files }) =>
    layouts.includes(layout) ? files : [],
  );
  const files = filesOf(patterns, positionals);
  if (files.length === 0) continue;
  console.log(`\n${files.length} test files, cgroup ${layout}`);
  const options = {
    layout,
    timeoutS: BOOT_TIMEOUT_S,
    onOutput: (text: string) => process.stderr.write(text),
  };
  try {
    for await (const { file, name, outcome, detail, durationMs } of runInMachine(files, options)) {
      const place = `${layout}: ${file}: ${name}`;
      const mark = { passed: '✔', failed: '✖', skipped: '﹣' }[outcome];
      console.log(`${mark} ${place} (${Math.round(durationMs)} ms)`);
      if (outcome === 'failed') console.log(detail.replace(/^/gm, '    '));
      if (outcome === 'passed') passed++;
      else if (outcome === 'failed') failures.push(place);
      else skips.push(`${place} (${detail})`);
    }
  } catch (thrown) {
    console.log(String(thrown));
    failures.push(`${layout}: the machine`);
  }
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
