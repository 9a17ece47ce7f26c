// Downloads Debian packages without touching the machine's own package system: apt runs with directories, sources and a
// status file of its own. It asks the machine's apt only where a Debian archive is.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Suite } from './packages.ts';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * Downloads the packages of a suite into `directory` and returns the files. Throws an Error when there is no
 * apt, no Debian archive is configured, or the archive does not answer.
 */
export function downloadPackages(
  { release, architecture, packages }: Suite,
  directory: string,
): string[] {
  const apt = join(directory, 'apt');
  for (const name of ['lists/partial', 'cache/archives/partial', 'empty']) {
    mkdirSync(join(apt, name), { recursive: true });
  }
  const sources = join(apt, 'sources.list');
  writeFileSync(sources, `deb [signed-by=${KEYRING}] ${debianArchive()} ${release} main\n`);
  writeFileSync(join(apt, 'status'), '');
  const options = [
    `Dir::Etc::SourceList=${sources}`,
    `Dir::Etc::SourceParts=${join(apt, 'empty')}`,
    `Dir::Etc::Preferences=${join(apt, 'none')}`,
    `Dir::Etc::PreferencesParts=${join(apt, 'empty')}`,
    `Dir::State::Lists=${join(apt, 'lists')}`,
    `Dir::State::Status=${join(apt, 'status')}`,
    `Dir::Cache=${join(apt, 'cache')}`,
    // apt downloads as the user _apt, who may not write here.
    'APT::Sandbox::User=root',
    'Acquire::Languages=none',
    'Acquire::Retries=3',
    // Translations, icons and the like of the archive's index.
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false',
    'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false',
    ...(architecture === undefined
      ? []
      : [`APT::Architecture=${architecture}`, `APT::Architectures=${architecture}`]),
  ].flatMap((option) => ['-o', option]);
  run('apt-get', [...options, '-qq', '--error-on=any', 'update'], directory);
  run('apt-get', [...options, '-qq', 'download', ...packages], directory);
  return readdirSync(directory).filter((name) => name.endsWith('.deb'));
}

/** The archive that this machine installs Debian from. */
function debianArchive(): string {
  const format = '$(REPO_URI) $(ORIGIN)';
  const lines = run('apt-get', ['indextargets', '--format', format], '/').trim().split('\n');
  const targets = lines.map((line) => line.split(' '));
  const known = targets.filter(
    ([uri, origin]) => origin === 'Debian' && !/security/.test(`${uri}`),
  );
  // Before the first `apt-get update` of a machine no origin is known; the usual path then tells.
  const archive = known[0]?.[0] ?? targets.find(([uri]) => /\/debian\/?$/.test(`${uri}`))?.[0];
  if (archive === undefined) throw new Error('find a Debian archive: apt has none in its sources');
  return archive;
}

/** Runs a program to its end and returns its output. Throws an Error with what it said on stderr. */
export function run(command: string, args: readonly string[], cwd: string): string {
  const result = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
    maxBuffer: 1 << 26,
  });
  if (result.status === 0) return result.stdout;
  if ((result.error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') {
    throw new Error(`${command} is not installed`);
  }
  const why = result.error?.message ?? result.stderr.trim().split('\n').slice(-3).join('; ');
  throw new Error(`${command} ${args.find((arg) => /^[a-z]+$/.test(arg)) ?? ''}: ${why}`);
}
