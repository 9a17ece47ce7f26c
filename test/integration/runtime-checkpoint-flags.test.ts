// What flags of checkpoint and restore do that stand for something CRIU refuses else: for tsrunc and runc alike. The rest of
// checkpoint and restore is in runtime-checkpoint.test.ts.
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { criuAnnotations, useCriu } from '../fixtures/criu.ts';
import { librariesOf } from '../fixtures/rootfs.ts';
import { RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { until } from '../fixtures/shim.ts';
import { peer } from '../peers/index.ts';
import { machineOnly } from '../vm/machine.ts';

const criu = useCriu();
const busybox = peer('busybox');
const runc = peer('runc-1.3');
/** Of util-linux; busybox has none. */
const FLOCK = '/usr/bin/flock';
const skip = criu || busybox.skip || (!existsSync(FLOCK) && `${FLOCK} is not there`);
const fixtures: RuntimeFixture[] = [];
after(() => {
  for (const fixture of fixtures) fixture[Symbol.dispose]();
});

/** In the virtual machine all is ten times slower. */
const DEADLINE_MS = machineOnly() === false ? 180_000 : 30_000;

interface Flag {
  readonly what: string;
  readonly flag: string;
  /** Whether restore has it too. */
  readonly ofRestore: boolean;
  /** What the container does before it sleeps. */
  readonly script: string;
  /** The end of the error without the flag. */
  readonly refusal: RegExp;
  /** Succeeds in the restored container if what the flag stands for was restored. */
  readonly check: readonly string[];
}

const FLAGS: readonly Flag[] = [
  {
    what: 'a file that is locked stays locked',
    flag: '--file-locks',
    ofRestore: true,
    script: `exec 9> /tmp/lock; ${FLOCK} -n 9`,
    refusal: /^checkpoint \S+: criu: .*You can try --file-locks.*: see \S+dump\.log$/,
    check: ['sh', '-c', `! ${FLOCK} -n /tmp/lock true`],
  },
  {
    what: 'an open file that has lost this name but has another',
    flag: '--link-remap',
    ofRestore: false,
    script: 'echo data > /tmp/a; ln /tmp/a /tmp/b; exec 9< /tmp/a; rm /tmp/a',
    refusal: /^checkpoint \S+: criu: .*Use link-remap option.*: see \S+dump\.log$/,
    check: ['sh', '-c', 'test "$(cat /proc/1/fd/9)" = data && test ! -e /tmp/a'],
  },
];

const runtimes: readonly [string, string | false, readonly string[] | undefined][] = [
  ['tsrunc', skip, undefined],
  ['runc', skip || runc.skip, [runc.path]],
];

for (const [name, reason, command] of runtimes) {
  for (const { what, flag, ofRestore, script, refusal, check } of FLAGS) {
    test(`${name}: ${flag}: ${what}`, { skip: reason }, async (t) => {
      const fixture = new RuntimeFixture(command);
      fixtures.push(fixture);
      for (const applet of ['ln', 'rm', 'cat']) {
        const path = join(fixture.rootfs, 'bin', applet);
        if (!existsSync(path)) copyFileSync(busybox.path, path);
      }
      for (const path of [FLOCK, ...(librariesOf(FLOCK) ?? [])]) {
        const target = join(fixture.rootfs, path);
        mkdirSync(dirname(target), { recursive: true });
        copyFileSync(path, target);
      }
      const ready = join(fixture.rootfs, 'tmp/ready');
      rmSync(ready, { force: true });
      const id = fixture.newId('flag');
      const change = (config: { annotations?: Record<string, string> }): void => {
        config.annotations = criuAnnotations(fixture.directory);
      };
      fixture.startSleeping(id, change, `${script}; echo > /tmp/ready`);
      await until(() => existsSync(ready), 'the container', DEADLINE_MS);
      const images = (directory: string) => {
        const path = join(fixture.directory, directory);
        return ['--image-path', path, '--work-path', `${path}.work`];
      };
      const refused = fixture.run(['checkpoint', ...images('refused'), id]);
      t.diagnostic(refused.error);
      assert.notEqual(refused.status, 0);
      if (name === 'tsrunc') assert.match(refused.error, refusal);
      const written = fixture.run(['checkpoint', flag, ...images('images'), id]);
      assert.deepEqual([written.status, written.error], [0, '']);
      const flags = ofRestore ? [flag] : [];
      const restored = fixture.runDetached(['restore', '-d', ...flags, ...images('images'), id]);
      assert.deepEqual([restored.status, restored.error], [0, '']);
      const checked = fixture.run(['exec', id, ...check]);
      assert.deepEqual([checked.status, checked.stderr], [0, '']);
      assert.equal(fixture.run(['delete', '--force', id]).status, 0);
      assert.deepEqual(fixture.leftovers(id), []);
    });
  }
}
