// What the tests of a run came to, from the events of node's runner: what test/run.ts counts, here and in the virtual
// machine.
import type { run } from 'node:test';

/** One test, suites left out. */
export interface TestResult {
  /** Relative to the repository. */
  readonly file: string;
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** Why it was skipped, or the text of its error. */
  readonly detail: string;
  readonly durationMs: number;
}

/** Calls `onResult` for each test that ends in `stream`. Test files are below `root`. */
export function watchResults(
  stream: ReturnType<typeof run>,
  root: string,
  onResult: (result: TestResult) => void,
): void {
  const relative = (file: string | undefined) => (file ?? '').replace(`${root}/`, '');
  stream.on('test:pass', ({ name, file, skip, todo, details }) => {
    const known = { file: relative(file), name, durationMs: details.duration_ms };
    // The tests of a skipped suite are not even known: it counts as one.
    if (skip !== undefined) {
      const detail = typeof skip === 'string' ? skip : 'no reason given';
      onResult({ ...known, outcome: 'skipped', detail });
    } else if (details.type === 'suite') return;
    else if (name === file)
      onResult({ ...known, name: 'has no test', outcome: 'failed', detail: '' }); // node's way to say so
    else if (todo === undefined) onResult({ ...known, outcome: 'passed', detail: '' });
  });
  stream.on('test:fail', ({ name, file, todo, details }) => {
    // A suite that fails because a test in it did is counted by that test; else one of its hooks did.
    const { failureType, cause } = details.error as Error & { failureType?: string };
    const isByTest = failureType === 'subtestsFailed';
    if (todo !== undefined || (details.type === 'suite' && isByTest)) return;
    const detail = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    onResult({
      file: relative(file),
      name,
      outcome: 'failed',
      detail,
      durationMs: details.duration_ms,
    });
  });
}
