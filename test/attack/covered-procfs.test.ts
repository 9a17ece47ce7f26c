// CVE-2019-16884, CVE-2019-19921, CVE-2025-52881: /proc or a part of it is covered by a volume, so that what the runtime
// writes there (labels, sysctls, oom_score_adj) or masks there is the attacker's. Refused, or written through the host's own
// procfs. CVE-2025-52565: the same with the places of terminals.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { acceptUnix, listenUnix, receiveFds } from '../../internal/linux/index.ts';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { fillWatched, lookAt } from '../fixtures/watched-directory.ts';
import { peer } from '../peers/index.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };
const watched = join(fixture?.directory ?? '', 'watched');
let untouched: readonly string[] = [];
before(() => {
  if (needsRoot !== false) return;
  fillWatched(watched);
  untouched = lookAt(watched);
});

const volume = (destination: string): Config => {
  return { destination, type: 'bind', source: watched, options: ['rbind', 'rw'] };
};
const IS_PROC = 'cannot be mounted because it is inside /proc';

/** A volume, and what create says to it. The last mount of the list covers those before it. */
const COVERS: [string, Config, RegExp][] = [
  [
    'a volume on /proc',
    volume('/proc'),
    /^mounts\[\d\]\.source .*watched is not a proc file system: EINVAL/,
  ],
  [
    'a tmpfs on /proc',
    { destination: '/proc', type: 'tmpfs', source: 'tmpfs' },
    /^config\.json: mounts\[\d\]\.type: "tmpfs" on \/proc is not a procfs$/,
  ],
  ...[
    '/proc/self',
    '/proc/self/attr',
    '/proc/sys',
    '/proc/sys/net/ipv4',
    '/proc/1',
    '/proc/../proc/sys',
  ].map((path): [string, Config, RegExp] => [
    `a volume on ${path}`,
    volume(path),
    new RegExp(`^config\\.json: mounts\\[\\d\\]\\.destination: .* ${IS_PROC}$`),
  ]),
  [
    'a tmpfs on /proc/self/attr',
    { destination: '/proc/self/attr', type: 'tmpfs', source: 'tmpfs' },
    new RegExp(`^config\\.json: mounts\\[\\d\\]\\.destination: .* ${IS_PROC}$`),
  ],
];

for (const [what, mount, expected] of COVERS) {
  test(`${what}: refused`, options, () => {
    const { status, stdout, error } = runtime.runScript('echo ran', (config) => {
      config.mounts.push(mount);
      config.linux.sysctl = { 'net.ipv4.ip_forward': '1' };
    });
    assert.deepEqual({ status, stdout }, { status: 1, stdout: '' });
    assert.match(error, expected);
    assert.deepEqual(lookAt(watched), untouched);
  });
}

test('the attack is one: a runtime without the check writes where the volume is', options, () => {
  // What a write below a covered /proc does, by the kernel's own rules.
  const { stdout, error } = runtime.runScript(
    'mount --bind /volume /proc && echo 1 > /proc/sys/net/ipv4/ip_forward; cat /volume/sys/net/ipv4/ip_forward',
    (config) => {
      for (const set of ['bounding', 'effective', 'permitted']) {
        config.process.capabilities[set] = ['CAP_SYS_ADMIN', 'CAP_DAC_OVERRIDE'];
      }
      config.mounts.push(volume('/volume'));
    },
  );
  assert.deepEqual({ stdout, error }, { stdout: '1\n', error: '' });
  fillWatched(watched);
  untouched = lookAt(watched);
});

test(
  'there is no procfs at all, or a directory of the image in its place: the sysctl is real',
  options,
  () => {
    const path = join('/proc/sys/net/ipv4/ip_forward');
    const ofHost = readFileSync(path, 'utf8');
    // The volume is mounted where nobody takes it for a procfs; a symlink of the image leads there.
    const { stdout, error } = runtime.runScript(
      'mkdir -p /tmp/real && mount -t proc proc /tmp/real && cat /tmp/real/sys/net/ipv4/ip_forward',
      (config) => {
        for (const set of ['bounding', 'effective', 'permitted']) {
          config.process.capabilities[set] = ['CAP_SYS_ADMIN'];
        }
        config.mounts = config.mounts.filter(
          ({ destination }: Config) => !/^\/(proc|sys)/.test(destination),
        );
        config.linux.maskedPaths = [];
        config.linux.readonlyPaths = [];
        config.linux.sysctl = { 'net.ipv4.ip_forward': '1' };
      },
    );
    assert.deepEqual({ stdout, error }, { stdout: '1\n', error: '' });
    assert.equal(readFileSync(path, 'utf8'), ofHost);
  },
);

test(
  'sysfs covered by a volume: the volume is what is seen, nothing of it is changed',
  options,
  () => {
    const { stdout, error } = runtime.runScript('ls /sys', (config) => {
      config.mounts.push(volume('/sys'));
      config.linux.maskedPaths = ['/sys/null', '/sys/self'];
      config.linux.readonlyPaths = ['/sys/sys'];
    });
    assert.equal(error, '');
    assert.match(stdout, /^console\n/);
    assert.deepEqual(lookAt(watched), untouched);
  },
);

const runcSkip = peer('runc-1.3').skip;
test('runc refuses the same volumes', { skip: needsRoot === false ? runcSkip : needsRoot }, () => {
  const runc = new RuntimeFixture([peer('runc-1.3').path]);
  try {
    for (const [what, mount] of COVERS) {
      const { status } = runc.runScript('true', (config) => config.mounts.push(mount));
      assert.notEqual(status, 0, what);
    }
  } finally {
    runc[Symbol.dispose]();
  }
});

/** Creates a container with a terminal, as an engine does. Returns the error, and whether a terminal came. */
async function createWithTerminal(
  change: (config: Config) => void,
): Promise<{ error: string; fds: number }> {
  const id = runtime.newId('terminal');
  runtime.configure((config) => {
    config.process.terminal = true;
    config.process.args = ['true'];
    change(config);
  });
  const path = join(runtime.directory, `console-${id}`);
  using listener = listenUnix(path);
  const { error } = runtime.run(['create', '--console-socket', path, id]);
  using connection = acceptUnix(listener);
  const { fds } = receiveFds(connection.number);
  for (const fd of fds) fd.close();
  runtime.run(['delete', '--force', id]);
  return { error, fds: fds.length };
}

const TERMINALS: [string, (config: Config) => void, RegExp][] = [
  [
    'a volume on /dev/pts',
    (config) => config.mounts.push({ ...volume('/dev/pts'), source: join(watched, 'pts') }),
    /^\/dev\/pts\/ptmx is not a devpts file system: EINVAL/,
  ],
  [
    'a volume on /dev',
    (config) => {
      config.mounts = config.mounts.filter(
        ({ destination }: Config) => !destination.startsWith('/dev'),
      );
      config.mounts.push(volume('/dev'));
    },
    /^\/dev\/pts\/ptmx is not a devpts file system: EINVAL/,
  ],
];
for (const [what, change, expected] of TERMINALS) {
  test(
    `a terminal with ${what}: refused, and no file of the volume is the terminal`,
    options,
    async () => {
      const { error, fds } = await createWithTerminal(change);
      assert.equal(fds, 0);
      assert.match(error, expected);
      assert.deepEqual(lookAt(watched), untouched);
    },
  );
}

test('a terminal as it should be comes: the look at it sees one', options, async () => {
  assert.deepEqual(await createWithTerminal(() => {}), { error: '', fds: 1 });
});
