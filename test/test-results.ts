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

/** How much of what a file's process said is kept, for the case that it dies. */
const KEPT_CHARACTERS = 2000;

/** What node's runner says of a failure; the last two for the process of a whole file. */
type TestError = Error & {
  readonly failureType?: string;
  readonly exitCode?: number;
  readonly signal?: NodeJS.Signals;
};

/** Calls `onResult` for each test that ends in `stream`. Test files are below `root`. */
export function watchResults(
  stream: ReturnType<typeof run>,
  root: string,
  onResult: (result: TestResult) => void,
): void {
  const relative = (file: string | undefined) => (file ?? '').replace(`${root}/`, '');
  const wordsOf = new Map<string, string>();
  const keepWords = ({ file = '', message }: { file?: string | undefined; message: string }) => {
    wordsOf.set(file, `${wordsOf.get(file) ?? ''}${message}\n`.slice(-KEPT_CHARACTERS));
  };
  stream.on('test:stderr', keepWords);
  stream.on('test:diagnostic', keepWords); // also the errors outside of any test
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
    const { failureType, cause } = details.error as TestError;
    const isByTest = failureType === 'subtestsFailed';
    if (todo !== undefined || (details.type === 'suite' && isByTest)) return;
    const reason = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    const known = {
      file: relative(file),
      outcome: 'failed' as const,
      durationMs: details.duration_ms,
    };
    if (name !== file) {
      onResult({ ...known, name, detail: reason });
      return;
    }
    onResult({
      ...known,
      name: fileEnd(details.error as TestError),
      detail: `${reason}\n${wordsOf.get(file) ?? ''}`.trim(),
    });
  });
}

/** How a file failed as a whole: a hook or an error outside of any test, or the end of its process. */
function fileEnd({ failureType, exitCode, signal }: TestError): string {
  if (failureType === 'hookFailed') return 'a hook of the file';
  return signal ? `ended by ${signal}` : `ended with ${exitCode ?? failureType}`;
}
