import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { errnoNameOf, TsError } from '../errors/index.ts';

/** Making a file system on a slow disk takes its time; a program that hangs must not hold all others up. */
const TIMEOUT_MS = 300_000;

/**
 * Runs a program to its end and returns what it printed, without the last newline. A failure has the
 * command line and the first line of what it wrote to stderr; all of that is in the field `stderr`.
 */
export async function runProgram(program: string, args: readonly string[]): Promise<string> {
  const line = [program, ...args].join(' ');
  const env = { ...process.env, LC_ALL: 'C' }; // its words are read
  return await new Promise((resolve, reject) => {
    execFile(program, args, { env, timeout: TIMEOUT_MS }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout.trimEnd());
      if (errnoNameOf(error) === 'ENOENT') {
        const advice = `install ${program} on the daemon's PATH`;
        reject(
          new TsError('NotFound', `run ${program}: ENOENT`, { code: 'TS_PROGRAM_MISSING', advice }),
        );
        return;
      }
      const [first = ''] = stderr.trim().split('\n');
      const status = error.signal ?? error.code ?? 'no status';
      const why = first === '' ? `it ended with ${status}` : first;
      reject(new TsError('Unknown', `${line}: ${why}`, { fields: { stderr, status } }));
    });
  });
}

/** Whether there is a program of this name on PATH. */
export function isOnPath(program: string): boolean {
  const directories = (process.env['PATH'] ?? '').split(':').filter((each) => each !== '');
  return directories.some((directory) => existsSync(join(directory, program)));
}

/** Whether a program failed with this text on stderr. */
export function saidOnStderr(thrown: unknown, text: RegExp): boolean {
  return thrown instanceof TsError && text.test(String(thrown.fields['stderr'] ?? ''));
}
