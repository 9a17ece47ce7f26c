// node test/peers/install.ts: installs the peers of the integration tests into a cache outside the repository, or says
// which could not be installed and why. Needs apt and dpkg and a Debian archive, for some a Go compiler; root is not needed.
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { downloadPackages, run } from './apt.ts';
import { buildGoModule } from './go-module.ts';
import { type GoSuite, leftOut, type Suite, type SuiteName, suites } from './packages.ts';
import { makeSelfContained } from './self-contained.ts';

/** Where peers are kept, for all checkouts of this user. */
export function cacheDirectory(): string {
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  return join(cache, 'tscontainerd-peers');
}

/** The directory of an installed suite. Its name changes with the suite's recipe, so that an edit installs it anew. */
export function suiteDirectory(suite: SuiteName): string {
  const recipe =
    JSON.stringify(suites[suite]) +
    leftOut.source +
    readFileSync(join(import.meta.dirname, 'self-contained.ts'), 'utf8');
  const key = createHash('sha256').update(recipe).digest('hex').slice(0, 8);
  return join(cacheDirectory(), `${suite}-${key}`);
}

/** The file in which a failed installation leaves its reason for the tests that are skipped because of it. */
export function reasonFile(suite: SuiteName): string {
  return `${suiteDirectory(suite)}.reason`;
}

/** Installs a suite unless it is there. Throws an Error that says which step did not work. */
export function installSuite(suite: SuiteName): string {
  const final = suiteDirectory(suite);
  if (existsSync(final)) return final;
  mkdirSync(cacheDirectory(), { recursive: true });
  const work = mkdtempSync(join(cacheDirectory(), `.${suite}-`));
  try {
    const tree = join(work, 'tree');
    mkdirSync(tree);
    const recipe: Suite | GoSuite = suites[suite];
    if ('module' in recipe) buildGoModule(recipe, work, tree);
    else unpack(recipe, work, tree, final);
    // Another run may have finished first: then its result is as good.
    if (!existsSync(final)) renameSync(tree, final);
    rmSync(reasonFile(suite), { force: true });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return final;
}

function unpack(recipe: Suite, work: string, tree: string, final: string): void {
  for (const name of downloadPackages(recipe, work)) {
    run('dpkg-deb', ['-x', join(work, name), tree], work);
  }
  removeLeftOut(tree, '');
  if (recipe.architecture === undefined) makeSelfContained(tree, final);
}

function removeLeftOut(tree: string, path: string): void {
  for (const entry of readdirSync(join(tree, path), { withFileTypes: true })) {
    const name = path === '' ? entry.name : `${path}/${entry.name}`;
    if (entry.isDirectory()) removeLeftOut(tree, name);
    else if (leftOut.test(name)) rmSync(join(tree, name));
  }
}

if (import.meta.main) {
  for (const suite of Object.keys(suites) as SuiteName[]) {
    const present = existsSync(suiteDirectory(suite));
    try {
      const directory = installSuite(suite);
      if (!present) console.log(`peers: ${suite} installed in ${directory}`);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (existsSync(cacheDirectory()) && statSync(cacheDirectory()).isDirectory()) {
        writeFileSync(reasonFile(suite), reason);
      }
      console.log(`peers: ${suite} is not there, tests that need it are skipped: ${reason}`);
    }
  }
}
