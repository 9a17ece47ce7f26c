// Who a process is in a container whose /etc/passwd and /etc/group are hostile: crun CVE-2026-30892 (a user that is read as
// another one), and capabilities that a program gets back by its file (CVE-2022-29162, crun CVE-2022-27650).
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };
const id = fixture?.newId('users') ?? '';

/** Each name that may be given leads to root, and so does each number. */
const PASSWD = `root:x:0:0::/:/bin/sh
1000:x:0:0::/:/bin/sh
5:x:0:0::/:/bin/sh
 5:x:0:0::/:/bin/sh
5x:x:0:0::/:/bin/sh
:x:0:0::/:/bin/sh
+5:x:0:0::/:/bin/sh
-1:x:0:0::/:/bin/sh
guest:x:0:0::/:/bin/sh
2147483648:x:0:0::/:/bin/sh
4294967296:x:0:0::/:/bin/sh
`;
const GROUP = 'root:x:0:1000,5,guest\n1000:x:0:1000\n5:x:0:5,1000\nwheel:x:0:1000\n';

before(() => {
  if (needsRoot !== false) return;
  writeFileSync(join(runtime.rootfs, 'etc/passwd'), PASSWD);
  writeFileSync(join(runtime.rootfs, 'etc/group'), GROUP);
  runtime.startSleeping(id);
});
after(() => fixture?.[Symbol.dispose]());

const IDS = 'grep -E "^(Uid|Gid|Groups)" /proc/self/status | tr -s "\\t " " "';
const exec = (...flags: string[]) => runtime.run(['exec', ...flags, id, 'sh', '-c', IDS]);
const four = (number: number | string) => ` ${number}`.repeat(4);

for (const [user, uid, gid] of [
  ['5', 5, 0],
  ['1000', 1000, 0],
  ['1000:5', 1000, 5],
  ['2147483648', 2147483648, 0],
  ['4294967294:4294967294', 4294967294, 4294967294],
  ['0', 0, 0],
] as const) {
  test(`exec --user ${user}: exactly these ids, and no groups of the image`, options, () => {
    const { stdout, error } = exec('--user', user);
    assert.equal(error, '');
    // The shell of the image prints what status has, where no group is an empty line.
    assert.match(stdout, new RegExp(`^Uid:${four(uid)}\\nGid:${four(gid)}\\nGroups: ?\\n$`));
  });
}

const REFUSED = (
  'root guest wheel 5x 0x0 0x5 010 1e3 5: :5 : 5:guest guest:5 root:root 5:5:5 -1 +5 ٥ 4294967295 4294967296 ' +
  '4294967301 18446744073709551616 18446744073709551621 -4294967291 5.0 5,6 --5'
).split(' ');
for (const user of ['', ' ', ' 5', '5 ', '5\n', '\t5', '5\r', '5:\n5', '5\0', ...REFUSED]) {
  if (user.includes('\0')) continue; // no argument of a program can have it
  test(
    `exec --user ${JSON.stringify(user)} is refused, although the image knows it`,
    options,
    () => {
      const { status, stdout, error } = exec(`--user=${user}`);
      assert.deepEqual({ status, stdout }, { status: 255, stdout: '' });
      assert.equal(
        error,
        `--user ${JSON.stringify(user)} is not uid[:gid]: give decimal numbers between 0 and 4294967294`,
      );
    },
  );
}

for (const group of [
  'root',
  'wheel',
  '',
  ' 0',
  '0x',
  '5x',
  '5,0',
  '-1',
  '4294967295',
  '4294967296',
]) {
  test(`exec --additional-gids ${JSON.stringify(group)} is refused`, options, () => {
    const { status, stdout, stderr } = exec('--user', '5', `--additional-gids=${group}`);
    assert.notEqual(status, 0);
    assert.doesNotMatch(stdout, /Uid/, 'the program did not run');
    assert.match(stderr, /additional-gids/);
  });
}

test('exec --process: ids that wrap to root are refused', options, () => {
  const file = join(runtime.directory, 'process.json');
  for (const uid of [
    '-1',
    '4294967295',
    '4294967296',
    '18446744073709551616',
    '"0"',
    '1e30',
    '0.5',
  ]) {
    writeFileSync(file, `{"args":["id"],"cwd":"/","user":{"uid":${uid},"gid":0}}`);
    const { status, stdout, error } = runtime.run(['exec', '--process', file, id]);
    assert.deepEqual({ status, stdout }, { status: 255, stdout: '' });
    assert.match(error, /user\.uid: /);
  }
});

const inheritable = (status: string) => /^CapInh:\t(\w+)$/m.exec(status)?.[1];
const NONE = '0'.repeat(16);
const STATUS = ['cat', '/proc/self/status'];

test(
  'no inheritable capabilities, in run and exec, for root and others (CVE-2022-29162)',
  options,
  () => {
    for (const uid of [0, 1000]) {
      runtime.configure((config) => {
        config.process.args = STATUS;
        config.process.user.uid = uid;
      });
      assert.equal(inheritable(runtime.run(['run', runtime.newId()]).stdout), NONE);
      for (const flags of [
        [],
        ['--cap', 'CAP_NET_RAW'],
        ['--cap', 'CAP_SYS_ADMIN', '--no-new-privs'],
      ]) {
        const run = runtime.run(['exec', '--user', String(uid), ...flags, id, ...STATUS]);
        assert.equal(run.error, '');
        assert.equal(inheritable(run.stdout), NONE);
      }
    }
  },
);

test(
  'inheritable capabilities are there if they are asked for: the look at them sees them',
  options,
  () => {
    runtime.configure((config) => {
      config.process.args = STATUS;
      config.process.capabilities.inheritable = ['CAP_KILL'];
    });
    assert.equal(
      inheritable(runtime.run(['run', runtime.newId()]).stdout),
      (1 << 5).toString(16).padStart(16, '0'),
    );
  },
);
