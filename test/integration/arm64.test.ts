// The cross-build: programs for arm64 made on this machine, and run by QEMU's user emulator, as far as it can: it does not
// emulate namespaces.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { EM_AARCH64, parseElf } from '../../build/elf.ts';
import { peer } from '../peers/index.ts';

const root = join(import.meta.dirname, '../..');
const qemu = peer('qemu-aarch64');
const loader = peer('loader-aarch64');
const skip = process.arch === 'arm64' ? 'this machine is arm64' : qemu.skip || loader.skip;
const out = mkdtempSync(join(tmpdir(), 'arm64-'));
after(() => rmSync(out, { recursive: true }));

// With an emulator on PATH that finds the libraries, the build also makes the code cache, as it does for this machine.
const env = { ...qemu.env, QEMU_LD_PREFIX: dirname(dirname(loader.path)) };
const versions: [program: string, flag: string][] = [
  ['tsrunc', '--version'],
  ['containerd-shim-tsrunc-v2', '-v'],
  ['tscontainerd', '--version'],
];
for (const [program, flag] of versions) {
  test(`${program} for arm64 is built and says its version`, { skip }, () => {
    const args = [join(root, 'build/binary.ts'), program, '--arch', 'arm64', '--out', out];
    const build = spawnSync(process.execPath, args, { cwd: root, env, encoding: 'utf8' });
    assert.equal(build.status, 0, build.stderr);
    const path = join(out, program);
    assert.equal(parseElf(readFileSync(path)).machine, EM_AARCH64);
    const run = spawnSync(qemu.path, [path, flag], { env, encoding: 'utf8' });
    // A code cache that was made by another V8, or under other options, is reported on stderr.
    assert.equal(run.stderr, '');
    assert.equal(run.status, 0);
    assert.match(run.stdout, /\d+\.\d+\.\d+/);
  });
}

test('tsrunc for arm64 writes the same default config.json', { skip }, () => {
  const path = join(out, 'tsrunc');
  for (const [directory, argv] of [
    [join(out, 'here'), [join(root, 'dist/bin/tsrunc')]],
    [join(out, 'there'), [qemu.path, path]],
  ] as const) {
    const [program = '', ...args] = argv;
    const make = spawnSync('mkdir', [directory]);
    assert.equal(make.status, 0);
    const run = spawnSync(program, [...args, 'spec', '--bundle', directory], {
      env,
      encoding: 'utf8',
    });
    assert.equal(run.status, 0, run.stderr);
  }
  const [here, there] = ['here', 'there'].map((name) => {
    return JSON.parse(readFileSync(join(out, name, 'config.json'), 'utf8'));
  });
  assert.deepEqual(there, here);
});
