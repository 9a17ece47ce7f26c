import { writeSync } from 'node:fs';
import { basename } from 'node:path';
import { versionText } from './version.ts';

// No top-level await: an executable holds the program as CommonJS modules. What import() names is a part of its own, which
// is not even read for a caller who only asks for the version.
const args = process.argv.slice(2);
// The daemon's program is its own client when it is called by another name: neither of the two loads the other.
if (basename(process.argv0) === 'tsctr') {
  void import('./client.ts').then(({ runAsClient }) => runAsClient(args));
} else if (args.length === 1 && (args[0] === '--version' || args[0] === '-v')) {
  writeSync(1, `${versionText()}\n`); // process.stdout would load Node's streams first
  process.exit(0);
} else {
  const ended = import('./command-line.ts').then(({ run }) => run(args));
  ended.catch(async (error: unknown) => (await import('./failure.ts')).endWith(error));
}
