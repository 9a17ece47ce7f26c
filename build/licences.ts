// node build/licences.ts OUTPUT: the licences of all that the programs are made of, Node and the packages inside of them, in
// one file, as those licences ask of whoever passes the programs on.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const root = join(import.meta.dirname, '..');

interface LockFile {
  readonly packages: Readonly<Record<string, { version?: string; license?: string; dev?: true }>>;
}

/** The text of OUTPUT: a part for each package. `read` returns the licence files of an installed one. */
export function licences(lock: LockFile, read: (path: string) => readonly string[]): string {
  const parts = Object.entries(lock.packages)
    // The base of the executables is a development dependency to npm.
    .filter(([path, { dev }]) => path !== '' && (dev !== true || /\/node-linux-/.test(path)))
    .flatMap(([path, { version, license }]) => {
      const name = path.replace(/^.*node_modules\//, '');
      const texts = read(path);
      const head = `${name} ${version ?? ''} (${license ?? 'licence not named'})`;
      if (texts.length > 0) return [`${head}\n\n${texts.join('\n\n').trim()}\n`];
      // Some packages name their licence and leave its text to the reader; npm did not install those of other machines.
      return existsSync(join(root, path)) ? [`${head}\n`] : [];
    });
  return parts.join(`\n${'-'.repeat(78)}\n\n`);
}

/** The licence files of an installed package. */
function licenceTexts(path: string): string[] {
  const directory = join(root, path);
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((name) => /^(?:licen[cs]e|notice|copying)/i.test(name))
    .map((name) => readFileSync(join(directory, name), 'utf8'));
}

if (import.meta.main) {
  const [output] = process.argv.slice(2);
  if (output === undefined) throw new Error('write licences: OUTPUT is wanted');
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as LockFile;
  mkdirSync(dirname(output), { recursive: true });
  writeFileSync(output, licences(lock, licenceTexts));
}
