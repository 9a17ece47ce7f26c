// The validation suite of the OCI's runtime-tools runs over tsrunc: what passes is to pass, and what cannot is known with
// its reason.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Capability, isCapability } from '../../internal/linux/index.ts';
import { needsRoot, tsruncCommand } from '../fixtures/runtime-bundle.ts';
import { machineOnly } from '../vm/machine.ts';
import { buildRuntimeTools, type Outcome, VALIDATIONS } from './runtime-tools.ts';

const isLegacy = existsSync('/sys/fs/cgroup/memory/cgroup.procs');
const suite = needsRoot !== false ? { skip: needsRoot } : buildRuntimeTools();
const directory = 'directory' in suite ? suite.directory : '';
const work = mkdtempSync(join(tmpdir(), 'runtime-tools-'));
const runtime = join(work, 'runtime');
const stateRoot = join(work, 'state');
after(() => {
  for (const id of existsSync(stateRoot) ? readdirSync(stateRoot) : []) {
    spawnSync(runtime, ['delete', '--force', id]);
  }
  rmSync(work, { recursive: true, force: true });
  // Parents that its cgroup paths name; a runtime removes the container's own.
  for (const hierarchy of readdirSync('/sys/fs/cgroup')) {
    for (const path of ['testdir/cgrouptest', 'testdir']) {
      const directory = join('/sys/fs/cgroup', hierarchy, path);
      if (existsSync(directory)) rmdirSync(directory);
    }
  }
});
if (directory !== '') {
  const command = tsruncCommand()
    .map((part) => `'${part}'`)
    .join(' ');
  writeFileSync(runtime, `#!/bin/sh\nexec ${command} --root '${stateRoot}' "$@"\n`);
  chmodSync(runtime, 0o755);
  // Its programs look for these in their working directory.
  for (const name of ['rootfs-amd64.tar.gz', 'runtimetest']) {
    copyFileSync(join(directory, name), join(work, name));
  }
}

/** What a file of the suite says is wrong; empty if it passes. */
function problems(name: string): string[] {
  const { status, stdout, stderr } = spawnSync(join(directory, name), [], {
    cwd: work,
    // Bundles go here, too, and with it at the end.
    env: { ...process.env, RUNTIME: runtime, TMPDIR: work },
    encoding: 'utf8',
    timeout: 120_000,
  });
  const failed = stdout.split('\n').filter((line) => line.startsWith('not ok'));
  // Files without any point say what is wrong in a note alone.
  const notes = stdout.includes('\n1..0') ? stdout.match(/"error": .*/g) : null;
  const all = [...failed, ...(notes ?? [])];
  return status === 0 ? all : [...all, `exit status ${status}: ${stderr.trim()}`];
}

function whyNot(name: string, outcome: Outcome): string | false {
  if ('skip' in suite) return suite.skip;
  if (outcome === 'passes') {
    if (machineOnly() === false)
      return 'shown outside of the virtual machine, in a tenth of the time';
    const isOfLegacy = name.startsWith('linux_cgroups_');
    return isOfLegacy && !isLegacy ? 'reads the files of cgroup v1' : false;
  }
  if ('needs' in outcome) {
    if (outcome.needs === 'AppArmor') return apparmorSkip();
    return hasCapability(outcome.needs)
      ? false
      : `asks for all capabilities; no ${outcome.needs} here`;
  }
  return `it ${outcome.fails}`;
}

function hasCapability(name: string): boolean {
  const bounding = /^CapBnd:\s*([0-9a-f]+)$/m.exec(
    readFileSync('/proc/self/status', 'latin1'),
  )?.[1];
  return isCapability(name) && (BigInt(`0x${bounding}`) >> BigInt(Capability[name])) % 2n === 1n;
}

/** Its profile must be loaded already; it allows everything. */
const PROFILE = 'profile acme_secure_profile flags=(attach_disconnected, default_allow) {}\n';

function apparmorSkip(): string | false {
  const file = '/sys/module/apparmor/parameters/enabled';
  if (!existsSync(file) || !readFileSync(file, 'latin1').startsWith('Y')) return 'no AppArmor here';
  return apparmorParser('--version') ? false : 'no apparmor_parser';
}

function apparmorParser(flag: string): boolean {
  const stdio: ['pipe', 'ignore', 'inherit'] = ['pipe', 'ignore', 'inherit'];
  return spawnSync('apparmor_parser', [flag], { input: PROFILE, stdio }).status === 0;
}

if (directory !== '' && apparmorSkip() === false) {
  before(() => assert.ok(apparmorParser('--replace'), 'load the profile'));
  after(() => assert.ok(apparmorParser('--remove'), 'remove the profile'));
}

for (const [name, outcome] of Object.entries(VALIDATIONS)) {
  test(`runtime-tools: ${name}`, { skip: whyNot(name, outcome) }, () => {
    assert.deepEqual(problems(name), []);
  });
}

test('every file of the suite is in the table', {
  skip: 'skip' in suite ? suite.skip : false,
}, () => {
  const programs = readdirSync(directory).filter(
    (name) => !/^(runtimetest|go\.|rootfs)/.test(name),
  );
  assert.deepEqual(programs.sort(), Object.keys(VALIDATIONS).sort());
  assert.equal(Object.keys(VALIDATIONS).length, 58);
  assert.match(readFileSync(join(directory, 'go.mod'), 'utf8'), /runtime-tools v0\.9\.0/);
});
