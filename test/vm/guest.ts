// node test/vm/guest.ts FILE…: inside the machine, runs test files one after the other and writes one line of JSON to stdout
// for each test. What the tests themselves print goes to stderr.
import { join } from 'node:path';
import { run } from 'node:test';
import { watchResults } from '../test-results.ts';

const root = join(import.meta.dirname, '../..');
/** The machine is ten times slower than the one around it. */
const FILE_TIMEOUT_MS = 1_800_000;

const stream = run({
  files: process.argv.slice(2).map((path) => join(root, path)),
  concurrency: 1,
  cwd: root,
  timeout: FILE_TIMEOUT_MS,
  // Sources that several files import are made into JavaScript once.
  execArgv: [
    '--import',
    `data:text/javascript,import m from 'module';m.enableCompileCache('/root/code')`,
  ],
});
watchResults(stream, root, (result) => process.stdout.write(`${JSON.stringify(result)}\n`));
stream.on('test:stdout', ({ message }) => process.stderr.write(message));
stream.on('test:stderr', ({ message }) => process.stderr.write(message));
stream.resume();
