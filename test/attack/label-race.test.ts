// CVE-2025-52881, CVE-2019-16884: while the runtime labels a process, what it is to write to is covered by the container or
// exchanged by who shares its image. Labels and the score for the OOM killer go through the host's own procfs, by an fd. Where
// there is no AppArmor, the score stands for the label: it is written in the same way, and it can be read everywhere.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { Capability } from '../../internal/linux/index.ts';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { until } from '../fixtures/shim.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };

const SCORE = 77;
const RUNS = 15;
const PROFILE = 'tsrunc-test-race';
const hasApparmor =
  needsRoot === false &&
  existsSync('/sys/kernel/security/apparmor/profiles') &&
  spawnSync('apparmor_parser', ['--version']).status === 0;

function apparmorParser(flag: string): void {
  const input = `abi <abi/4.0>,
profile ${PROFILE} flags=(attach_disconnected, mediate_deleted) {
  file, capability, network, mount, umount, pivot_root, signal, ptrace, unix, dbus,
}\n`;
  const { status, stderr } = spawnSync('apparmor_parser', ['--skip-cache', flag], {
    input,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
}
before(() => {
  if (hasApparmor) apparmorParser('--replace');
});
after(() => {
  fixture?.[Symbol.dispose]();
  if (hasApparmor) apparmorParser('--remove');
});

/** What the runtime writes to below /proc, for a procfs that is none. */
const FILES = ['self/oom_score_adj', 'self/attr/exec', 'self/attr/apparmor/exec'];

function fill(fake: string): void {
  for (const file of FILES) {
    mkdirSync(dirname(join(fake, file)), { recursive: true });
    writeFileSync(join(fake, file), 'untouched');
  }
}

function checkUntouched(fake: string): void {
  for (const file of FILES) assert.equal(readFileSync(join(fake, file), 'utf8'), 'untouched', file);
}

function labelled(config: Config): void {
  config.process.oomScoreAdj = SCORE;
  if (hasApparmor) config.process.apparmorProfile = PROFILE;
  config.linux.maskedPaths = [];
  config.linux.readonlyPaths = [];
}

/** By the host's procfs. The label comes with the program. */
async function checkLabelled(pid: number, isExecuted: boolean): Promise<void> {
  assert.equal(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'), `${SCORE}\n`);
  if (!hasApparmor || !isExecuted) return;
  const label = () => readFileSync(`/proc/${pid}/attr/apparmor/current`, 'latin1');
  await until(() => label() === `${PROFILE} (enforce)\n`, `${pid} is confined`, 30_000);
}

test(
  'exec while root of the container covers /proc with a fake of it, over and over',
  options,
  async () => {
    const fake = join(runtime.rootfs, 'fake');
    fill(fake);
    const id = runtime.newId('cover');
    const script = 'while :; do mount --bind /fake /proc && umount -l /proc; done & : > /ready';
    const allowed = (config: Config): void => {
      labelled(config);
      for (const set of ['bounding', 'effective', 'permitted']) {
        config.process.capabilities[set] = Object.keys(Capability);
      }
    };
    runtime.startSleeping(id, allowed, script);
    await until(() => existsSync(join(runtime.rootfs, 'ready')), 'the container', 30_000);
    const { pid: init } = JSON.parse(runtime.run(['state', id]).stdout);

    // The attack is one: who goes by the container's own /proc writes to the fake.
    const naive = () => {
      try {
        writeFileSync(`/proc/${init}/root/proc/self/attr/exec`, 'naive', { flag: 'r+' });
      } catch {
        // it is the real one just now, in which this process is not
      }
      return readFileSync(join(fake, 'self/attr/exec'), 'utf8') !== 'untouched';
    };
    await until(naive, 'a naive write lands in the fake', 30_000);
    fill(fake);

    const pidFile = join(runtime.directory, 'exec.pid');
    for (let count = 0; count < RUNS; count++) {
      const { error } = runtime.runDetached([
        ...['exec', '--detach', '--pid-file', pidFile, id, 'sleep', '1000'],
      ]);
      assert.equal(error, '');
      await checkLabelled(Number(readFileSync(pidFile, 'utf8')), true);
    }
    checkUntouched(fake);
    assert.equal(runtime.run(['delete', '--force', id]).error, '');
    assert.deepEqual(runtime.leftovers(id), []);
  },
);

test(
  'create while /proc/self of the image is exchanged with a symlink to the host',
  options,
  async () => {
    const watched = join(runtime.directory, 'watched');
    const image = join(runtime.rootfs, 'proc');
    // What the symlink names is in the image as well: there it is reached by who stays in the root.
    for (const place of [watched, image, join(runtime.rootfs, watched)]) fill(place);
    symlinkSync(join(watched, 'self'), join(image, 'trap'));
    const program = join(import.meta.dirname, '../fixtures/path-exchanger.ts');
    const args = [program, join(image, 'self'), join(image, 'trap')];
    const exchanger = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await once(exchanger.stdout, 'data');
      for (let count = 0; count < RUNS; count++) {
        const id = runtime.newId('exchange');
        runtime.configure((config) => {
          labelled(config);
          // No procfs is mounted: the directories of the image are all that there is.
          config.mounts = config.mounts.filter(
            ({ destination }: Config) => !/^\/(proc|sys)/.test(destination),
          );
        });
        assert.equal(runtime.runDetached(['create', id]).error, '');
        const { pid } = JSON.parse(runtime.run(['state', id]).stdout);
        await checkLabelled(pid, false);
        assert.equal(runtime.run(['delete', '--force', id]).error, '');
      }
    } finally {
      exchanger.kill('SIGKILL');
      await once(exchanger, 'exit');
    }
    for (const place of [watched, join(runtime.rootfs, watched)]) checkUntouched(place);
    for (const name of readdirSync(image)) {
      assert.equal(readFileSync(join(image, name, 'attr/exec'), 'utf8'), 'untouched');
    }
  },
);
