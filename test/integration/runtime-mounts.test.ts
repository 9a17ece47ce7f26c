// tsrunc: mounts and their options, the root file system, masked and read-only paths.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };
const source = join(fixture?.directory ?? '', 'source');
before(() => {
  if (needsRoot !== false) return;
  mkdirSync(join(source, 'sub'), { recursive: true });
  writeFileSync(join(source, 'file'), 'content\n');
});

function output(script: string, change: (config: Config) => void = () => {}): string {
  const { stdout, error, stderr } = runtime.runScript(script, change);
  assert.equal(error, '', stderr);
  return stdout;
}

/** Mount options that the container sees for a mount point. */
function optionsOf(path: string, change: (config: Config) => void): string[] {
  const line = output(`grep ' ${path} ' /proc/self/mountinfo | tail -1`, change);
  const [before = '', after = ''] = line.trim().split(' - ');
  return [...(before.split(' ')[5] ?? '').split(','), ...(after.split(' ')[2] ?? '').split(',')];
}

function bind(destination: string, ...mountOptions: string[]) {
  return (config: Config) => {
    config.mounts.push({ destination, type: 'bind', source, options: mountOptions });
  };
}

test('bind mounts: a directory, a file, relative to the bundle', options, () => {
  assert.equal(
    output('cat /mnt/file /deep/er/file; ls /rel', (config) => {
      bind('/mnt', 'rbind')(config);
      const file = join(source, 'file');
      config.mounts.push({
        destination: '/deep/er/file',
        type: 'bind',
        source: file,
        options: ['bind'],
      });
      config.mounts.push({ destination: '/rel', source: '../source', options: ['bind'] });
    }),
    'content\ncontent\nfile\nsub\n',
  );
});

test('bind mounts: options', options, () => {
  for (const [given, expected] of [
    [['bind', 'ro'], ['ro']],
    [
      ['rbind', 'nosuid', 'nodev', 'noexec'],
      ['nosuid', 'nodev', 'noexec', 'rw'],
    ],
    [
      ['rbind', 'ro', 'noatime', 'rw'],
      ['rw', 'noatime'],
    ],
    [
      ['rbind', 'rro', 'rnosuid'],
      ['ro', 'nosuid'],
    ],
  ] as const) {
    const found = optionsOf('/mnt', bind('/mnt', ...given));
    for (const option of expected) assert.ok(found.includes(option), `${given}: ${found}`);
  }
});

test('bind mounts: rro is for the mounts below as well, ro is not', options, () => {
  const below = join(source, 'sub');
  execFileSync('mount', ['-t', 'tmpfs', 'tsrunc-test', below]);
  try {
    const script = 'touch /mnt/x 2>/dev/null; echo $?; touch /mnt/sub/x 2>/dev/null; echo $?';
    assert.equal(output(script, bind('/mnt', 'rbind', 'rro')), '1\n1\n');
    assert.equal(output(script, bind('/mnt', 'rbind', 'ro')), '1\n0\n');
  } finally {
    execFileSync('umount', [below]);
  }
});

const IDMAP = {
  uidMappings: [{ containerID: 0, hostID: 1000, size: 10 }],
  gidMappings: [{ containerID: 0, hostID: 2000, size: 10 }],
};

test('bind mounts: mapped ids', options, () => {
  const owner = (change: (config: Config) => void) =>
    output('stat -c %u:%g /mnt/file', (config) => {
      config.mounts.push({
        destination: '/mnt',
        type: 'bind',
        source,
        options: ['rbind'],
        ...IDMAP,
      });
      change(config);
    });
  assert.equal(
    owner(() => {}),
    '1000:2000\n',
  );
  // Inside a user namespace the mapped ids are seen through its own mapping.
  const user = { containerID: 0, hostID: 1000, size: 5000 };
  const inside = owner((config) => {
    config.linux.namespaces.push({ type: 'user' });
    config.linux.uidMappings = [user];
    config.linux.gidMappings = [user];
  });
  assert.equal(inside, '0:1000\n');
});

test('tmpfs: size, mode, read-only', options, () => {
  const tmpfs =
    (...mountOptions: string[]) =>
    (config: Config) =>
      config.mounts.push({ destination: '/t', type: 'tmpfs', source: 'x', options: mountOptions });
  assert.equal(
    output(
      'stat -c %a /t; df -k /t | tail -1 | tr -s " " | cut -d" " -f1,2',
      tmpfs('mode=711', 'size=64k'),
    ),
    '711\nx 64\n',
  );
  assert.ok(optionsOf('/t', tmpfs('ro', 'nosuid')).includes('ro'));
});

test('tmpfs: a mount below a read-only one is made all the same', options, () => {
  const text = output('cat /t/below/file; touch /t/x 2>/dev/null; echo $?', (config) => {
    config.mounts.push({ destination: '/t', type: 'tmpfs', source: 'x', options: ['ro'] });
    config.mounts.push({ destination: '/t/below', type: 'bind', source, options: ['bind'] });
  });
  assert.equal(text, 'content\n1\n');
});

test('propagation: of a mount and of the root', options, () => {
  const fields = (path: string, change: (config: Config) => void) =>
    output(`grep -E '^[0-9]+ [0-9]+ [0-9:]+ [^ ]+ ${path} ' /proc/self/mountinfo`, change).split(
      ' - ',
    )[0] ?? '';
  assert.match(fields('/mnt', bind('/mnt', 'rbind', 'shared')), / shared:\d+/);
  assert.doesNotMatch(fields('/mnt', bind('/mnt', 'rbind', 'rprivate')), /shared|master/);
  assert.match(fields('/mnt', bind('/mnt', 'rbind', 'unbindable')), /unbindable/);
  const root = (value: string) =>
    fields('/', (config) => {
      config.linux.rootfsPropagation = value;
    });
  assert.match(root('shared'), / shared:\d+/);
  assert.match(root('unbindable'), /unbindable/);
  assert.doesNotMatch(root('private'), /shared|master/);
});

test('a read-only root, with writable mounts on it', options, () => {
  const text = output('touch /x 2>/dev/null; echo $?; touch /dev/shm/x; echo $?', (config) => {
    config.root.readonly = true;
  });
  assert.equal(text, '1\n0\n');
});

test('masked and read-only paths', options, () => {
  const script = [
    'wc -c < /proc/keys',
    'ls /sys/firmware | wc -l',
    'echo 1 2>/dev/null > /proc/sysrq-trigger; echo $?',
    'cat /secret; ls /hidden; touch /fixed/x 2>/dev/null; echo $?',
    'chmod 777 /secret 2>/dev/null; echo $?',
  ].join('\n');
  mkdirSync(join(runtime.rootfs, 'hidden'));
  mkdirSync(join(runtime.rootfs, 'fixed'));
  writeFileSync(join(runtime.rootfs, 'hidden/x'), '');
  writeFileSync(join(runtime.rootfs, 'secret'), 'secret');
  const text = output(script, ({ linux }) => {
    linux.maskedPaths.push('/secret', '/hidden', '/not/there', '/etc/passwd/nor-this');
    linux.readonlyPaths.push('/fixed', '/not/there');
  });
  assert.equal(text, '0\n0\n1\n1\n1\n');
});

test('a mount target behind a dangling symlink is made where it points to', options, () => {
  symlinkSync('../run/resolv/real.conf', join(runtime.rootfs, 'etc/resolv.conf'));
  try {
    const text = output('cat /etc/resolv.conf; readlink /etc/resolv.conf', (config) => {
      const file = join(source, 'file');
      config.mounts.push({
        destination: '/etc/resolv.conf',
        type: 'bind',
        source: file,
        options: ['bind'],
      });
    });
    assert.equal(text, 'content\n../run/resolv/real.conf\n');
  } finally {
    rmSync(join(runtime.rootfs, 'etc/resolv.conf'));
    rmSync(join(runtime.rootfs, 'run'), { recursive: true });
  }
});

test('an overlay with more lower directories than fsconfig takes in one string', options, () => {
  const lower = Array.from({ length: 8 }, (_, i) => join(source, `lower-${'x'.repeat(40)}-${i}`));
  for (const [i, directory] of lower.entries()) {
    mkdirSync(directory);
    writeFileSync(join(directory, `f${i}`), '');
  }
  const text = output('ls /o | wc -l', (config) => {
    const data = [`lowerdir=${lower.join(':')}`];
    config.mounts.push({ destination: '/o', type: 'overlay', source: 'overlay', options: data });
  });
  assert.equal(text, '8\n');
});

test('--no-pivot', options, () => {
  runtime.configure((config) => {
    config.process.args = ['ls', '/'];
  });
  const { stdout, error } = runtime.run(['run', '--no-pivot', runtime.newId()]);
  assert.equal(error, '');
  assert.match(stdout, /^bin\n/);
});

const REFUSED: [string, Config, string][] = [
  [
    'a source that is not there',
    { destination: '/mnt', source: '/nonexistent', options: ['bind'] },
    'mounts[7].source: stat /nonexistent: ENOENT (no such file or directory)',
  ],
  [
    'the root as destination',
    { destination: '/', type: 'tmpfs' },
    'config.json: mounts[7].destination: is the root itself: use root.path for the root',
  ],
  [
    'a place inside /proc',
    { destination: '/proc/sys', type: 'tmpfs', source: 'tmpfs' },
    'config.json: mounts[7].destination: /proc/sys cannot be mounted because it is inside /proc',
  ],
  [
    'a tmpfs on /proc',
    { destination: '/proc', type: 'tmpfs', source: 'tmpfs' },
    'config.json: mounts[7].type: "tmpfs" on /proc is not a procfs',
  ],
  [
    'a bind mount of no procfs on /proc',
    { destination: '/proc', source: '/tmp', options: ['rbind'] },
    'mounts[7].source /tmp is not a proc file system: EINVAL (invalid argument)',
  ],
  [
    'an unknown file system',
    { destination: '/mnt', type: 'nofs', source: 'x' },
    'mount nofs on /mnt: ENODEV (no such device)',
  ],
  [
    'a value that the file system refuses',
    { destination: '/mnt', type: 'tmpfs', source: 'x', options: ['size=lots'] },
    'mount tmpfs on /mnt: option size=lots: EINVAL (invalid argument)',
  ],
];
for (const [what, mount, message] of REFUSED) {
  test(`refused: ${what}`, options, () => {
    const id = runtime.newId();
    const config = runtime.configure(({ mounts }) => mounts.push(mount));
    assert.equal(config.mounts.length, 8, 'the default configuration has seven mounts');
    const { status, error } = runtime.run(['run', id]);
    assert.deepEqual({ status, error }, { status: 1, error: message });
    assert.deepEqual(runtime.leftovers(id), []);
  });
}
