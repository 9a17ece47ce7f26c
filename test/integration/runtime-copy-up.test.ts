// tsrunc: tmpcopyup, a tmpfs that starts with a copy of what it covers.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { peer } from '../peers/index.ts';

const runc = peer('runc-1.3');
const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
const theirs =
  needsRoot === false && runc.skip === false ? new RuntimeFixture([runc.path]) : undefined;
after(() => {
  fixture?.[Symbol.dispose]();
  theirs?.[Symbol.dispose]();
});
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };

/** A directory with every kind of file, of different owners and modes. */
function fill(directory: string, nodes = true): void {
  mkdirSync(join(directory, 'sub/deeper'), { recursive: true });
  chmodSync(join(directory, 'sub'), 0o2750);
  chownSync(join(directory, 'sub'), 5, 6);
  writeFileSync(join(directory, 'file'), 'content\n');
  chownSync(join(directory, 'file'), 1000, 1001);
  chmodSync(join(directory, 'file'), 0o4711);
  writeFileSync(join(directory, 'sub/deeper/empty'), '');
  chmodSync(join(directory, 'sub/deeper/empty'), 0o400);
  symlinkSync('../../etc/passwd', join(directory, 'link'));
  lchownSync(join(directory, 'link'), 7, 8);
  symlinkSync('/nowhere', join(directory, 'sub/dangling'));
  for (const [name, ...type] of nodes
    ? [
        ['pipe', 'p'],
        ['null', 'c', '1', '3'],
        ['disk', 'b', '259', '300'],
      ]
    : []) {
    execFileSync('mknod', ['-m', '640', join(directory, `${name}`), ...type]);
  }
}

before(() => {
  for (const each of [fixture, theirs]) {
    if (each === undefined) continue;
    chmodSync(each.directory, 0o755);
    fill(join(each.rootfs, 'covered'));
    chmodSync(join(each.rootfs, 'covered'), 0o751);
    fill(join(each.rootfs, 'plain'), false);
    fill(join(each.directory, 'source'));
  }
});

function mayReadAll({ process }: Config): void {
  for (const set of ['bounding', 'permitted', 'effective']) {
    process.capabilities[set].push('CAP_DAC_OVERRIDE', 'CAP_FOWNER');
  }
}

const NAMES = '. disk file link null pipe sub sub/dangling sub/deeper sub/deeper/empty';
const LIST = (directory: string) =>
  `cd ${directory}; for f in ${NAMES}; do [ -e $f -o -L $f ] || continue; stat -c "%n %F %a %u:%g %t:%T %s" $f; readlink $f; done; cat file; grep -c " ${directory} " /proc/self/mountinfo`;

const copied = (...mountOptions: string[]) => ({
  destination: '/covered',
  type: 'tmpfs',
  source: 'tmpfs',
  options: ['tmpcopyup', ...mountOptions],
});

function listing(of: RuntimeFixture, directory: string, ...mountOptions: string[]): string[] {
  const { stdout, error, stderr } = of.runScript(LIST(directory), (config) => {
    mayReadAll(config);
    config.mounts.push({ ...copied(...mountOptions), destination: directory });
  });
  assert.equal(error, '', stderr);
  // What a directory's size says differs between file systems.
  return stdout.split('\n').map((line) => line.replace(/( directory .*) \d+$/, '$1'));
}

const EXPECTED = [
  '. directory 751 0:0 0:0',
  'disk block special file 640 0:0 103:12c 0',
  'file regular file 4711 1000:1001 0:0 8',
  'link symbolic link 777 7:8 0:0 16',
  '../../etc/passwd',
  'null character special file 640 0:0 1:3 0',
  'pipe fifo 640 0:0 0:0 0',
  'sub directory 2750 5:6 0:0',
  'sub/dangling symbolic link 777 0:6 0:0 8',
  '/nowhere',
  'sub/deeper directory 755 0:0 0:0',
  'sub/deeper/empty regular empty file 400 0:0 0:0 0',
  'content',
  '1',
  '',
];

test('tmpcopyup: every kind of file, with its owner and mode', options, () => {
  assert.deepEqual(listing(runtime, '/covered', 'nosuid'), EXPECTED);
});

test('tmpcopyup: the same as with runc', { skip: options.skip || runc.skip }, () => {
  // runc cannot copy device nodes. And it sets setuid before it changes the owner, and the kernel takes it away.
  const withoutSetuid = (lines: string[]) => lines.map((line) => line.replace(' 4711 ', ' 711 '));
  assert.deepEqual(
    withoutSetuid(listing(runtime, '/plain')),
    withoutSetuid(listing(theirs as RuntimeFixture, '/plain')),
  );
});

test('tmpcopyup: a change is of the copy alone', options, () => {
  const { stdout, error } = runtime.runScript(
    'echo changed > /covered/file; rm -r /covered/sub; ls /covered | wc -l',
    (config) => {
      mayReadAll(config);
      config.mounts.push(copied());
    },
  );
  assert.deepEqual({ stdout, error }, { stdout: '5\n', error: '' });
  assert.deepEqual(listing(runtime, '/covered'), EXPECTED);
});

test('tmpcopyup: read-only, and what a bind mount before it shows', options, () => {
  const script = 'cat /covered/file; touch /covered/x 2>/dev/null; echo $?; ls /covered/sub';
  const { stdout, error } = runtime.runScript(script, (config) => {
    mayReadAll(config);
    const { mounts } = config;
    const source = join(runtime.directory, 'source');
    writeFileSync(join(source, 'file'), 'of the bind mount\n');
    mounts.push({ destination: '/covered', type: 'bind', source, options: ['rbind'] });
    mounts.push(copied('ro'));
  });
  assert.deepEqual(
    { stdout, error },
    { stdout: 'of the bind mount\n1\ndangling\ndeeper\n', error: '' },
  );
});

test('tmpcopyup: in a user namespace ids are those of the container', options, () => {
  const mapped = join(runtime.rootfs, 'mapped');
  mkdirSync(mapped);
  writeFileSync(join(mapped, 'file'), 'content');
  chownSync(join(mapped, 'file'), 100005, 100006);
  const script = 'stat -c "%u:%g %a" /mapped/file; cat /mapped/file';
  const { stdout, error } = runtime.runScript(script, (config) => {
    const mapping = [{ containerID: 0, hostID: 100000, size: 65536 }];
    config.linux.namespaces.push({ type: 'user' });
    config.linux.uidMappings = mapping;
    config.linux.gidMappings = mapping;
    config.mounts.push({ ...copied(), destination: '/mapped' });
  });
  rmSync(mapped, { recursive: true });
  assert.deepEqual({ stdout, error }, { stdout: '5:6 644\ncontent', error: '' });
});

test('tmpcopyup: nothing there, nothing copied', options, () => {
  const { stdout, error } = runtime.runScript('ls -a /not/there', ({ mounts }) =>
    mounts.push({ ...copied(), destination: '/not/there' }),
  );
  assert.deepEqual({ stdout, error }, { stdout: '.\n..\n', error: '' });
});

test('tmpcopyup: what does not fit is refused by name', options, () => {
  const large = join(runtime.rootfs, 'large');
  mkdirSync(large);
  writeFileSync(join(large, 'file'), '');
  truncateSync(join(large, 'file'), 1 << 20);
  const id = runtime.newId();
  runtime.configure(({ mounts }) => mounts.push({ ...copied('size=64k'), destination: '/large' }));
  const { status, error } = runtime.run(['run', id]);
  rmSync(large, { recursive: true });
  assert.equal(status, 1);
  assert.equal(error, 'mount tmpfs on /large: copy up file: ENOSPC (no space left on device)');
  assert.deepEqual(runtime.leftovers(id), []);
});

test('tmpcopyup is only for tmpfs', options, () => {
  runtime.configure(({ mounts }) =>
    mounts.push({ ...copied(), destination: '/x', type: 'ramfs', source: 'x' }),
  );
  const { error } = runtime.run(['run', runtime.newId()]);
  assert.equal(error, 'config.json: mounts[7].options: tmpcopyup is only for tmpfs');
});
