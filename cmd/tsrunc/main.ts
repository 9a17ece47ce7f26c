import { writeSync } from 'node:fs';
import { versionText } from './version.ts';

// What import() names is a part of its own in the executable: a caller who only asks for the version, as engines do to see
// whether the runtime is there, does not even read it. The commands that engines call for each container are programs of
// their own, each a single part with nothing in it but what the command needs.
const SINGLE: Readonly<Record<string, () => Promise<Program>>> = {
  create: () => import('./single/create.ts'),
  start: () => import('./single/start.ts'),
  state: () => import('./single/state.ts'),
  kill: () => import('./single/kill.ts'),
  delete: () => import('./single/delete.ts'),
  run: () => import('./single/run.ts'),
  exec: () => import('./single/exec.ts'),
};

interface Program {
  /** Undefined, and nothing has been done, if the command line is for the whole program. */
  main(argv: readonly string[]): Promise<number | undefined>;
  exitProcess(status: number): never;
}

// No top-level await: an executable holds the program as CommonJS modules.
const args = process.argv.slice(2);
if (args.length === 1 && (args[0] === '--version' || args[0] === '-v')) {
  writeSync(1, `${versionText()}\n`); // process.stdout would load Node's streams first
  process.exit(0);
} else {
  void runProgram();
}

/** Ends the process; all that is printed is written by then: nothing here uses Node's streams. */
async function runProgram(): Promise<never> {
  // A guess: the first argument that names such a command may as well be a flag's value. The program knows.
  const name = args.find((argument) => Object.hasOwn(SINGLE, argument));
  const program = name === undefined ? undefined : await SINGLE[name]?.();
  const status = await program?.main(args);
  if (program !== undefined && status !== undefined) return program.exitProcess(status);
  const whole = await import('./command-line.ts');
  return whole.exitProcess(await whole.main(args));
}
