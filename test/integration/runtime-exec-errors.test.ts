// "no such file or directory": which file? Programs that cannot be executed, each for another reason, under create, run and
// exec: the error says what is wrong with what, and what to do. What runc says of the same is in the test's diagnostics.
import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { peer } from '../peers/index.ts';

const ours = (needsRoot === false ? new RuntimeFixture() : undefined) as RuntimeFixture;
const runc = peer('runc-1.3');
const theirs =
  needsRoot === false && runc.skip === false ? new RuntimeFixture([runc.path]) : undefined;
const sleeping = needsRoot === false ? ours.newId('sleeping') : '';

const EXEC = 0o755;
const AMD64 = 62;
const ARM64 = 183;
const native = process.arch === 'x64' ? AMD64 : ARM64;
const foreign = native === AMD64 ? ARM64 : AMD64;
const names = new Map([
  [AMD64, 'amd64'],
  [ARM64, 'arm64'],
]);

/** The least that the kernel takes for a program: a header, and one that names a loader. */
function elf(machine: number, loader: string): Buffer {
  const bytes = Buffer.alloc(512);
  bytes.write('\x7fELF\x02\x01\x01', 'latin1');
  bytes.writeUInt16LE(2, 16); // ET_EXEC
  bytes.writeUInt16LE(machine, 18);
  bytes.writeUInt32LE(1, 20);
  bytes.writeBigUInt64LE(64n, 32); // program headers
  bytes.writeUInt16LE(64, 52);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(1, 56);
  bytes.writeUInt32LE(3, 64); // PT_INTERP
  bytes.writeBigUInt64LE(256n, 72);
  bytes.writeBigUInt64LE(BigInt(loader.length + 1), 96);
  bytes.write(loader, 256, 'latin1');
  return bytes;
}

const PROGRAMS: readonly [string, string | Buffer, number][] = [
  ['script', '#!/bin/nope -x\necho\n', EXEC],
  ['crlf', '#!/bin/sh\r\necho\r\n', EXEC],
  ['broken', '#!/opt/data\n', EXEC],
  ['loader', elf(native, '/lib/ld-nope.so.1'), EXEC],
  ['foreign', elf(foreign, '/lib/ld-nope.so.1'), EXEC],
  ['data', 'echo\n', 0o644],
  ['text', 'echo\n', EXEC],
  ['empty', '', EXEC],
  ['good', '#!/bin/true\n', EXEC],
  ['noexec/good', '#!/bin/true\n', EXEC],
];

interface Row {
  readonly what: string;
  readonly args: readonly string[];
  readonly message: string;
  /** Whether only start can tell. */
  readonly byStart?: true;
}

const ROWS: readonly Row[] = [
  {
    what: 'a name that is not in PATH',
    args: ['nope'],
    message:
      'exec: "nope": executable file not found in $PATH (/opt:/bin): ENOENT (no such file or directory)',
  },
  {
    what: 'a path that is not there',
    args: ['/opt/nope'],
    message: 'exec: "/opt/nope": stat /opt/nope: ENOENT (no such file or directory)',
  },
  {
    what: 'a script whose interpreter is missing',
    args: ['/opt/script'],
    message:
      'exec /opt/script: its interpreter "/bin/nope" is missing: ENOENT (no such file or directory): add the interpreter to the image, or change the first line of the script',
    byStart: true,
  },
  {
    what: 'such a script that is found in PATH',
    args: ['script'],
    message:
      'exec /opt/script: its interpreter "/bin/nope" is missing: ENOENT (no such file or directory): add the interpreter to the image, or change the first line of the script',
    byStart: true,
  },
  {
    what: 'a script with lines that end in CRLF',
    args: ['/opt/crlf'],
    message:
      'exec /opt/crlf: its interpreter "/bin/sh\\r" is missing, as its lines end in CRLF: ENOENT (no such file or directory): convert them in the image: sed -i \'s/\\r$//\' /opt/crlf',
    byStart: true,
  },
  {
    what: 'a script whose interpreter is not executable',
    args: ['/opt/broken'],
    message:
      'exec /opt/broken: its interpreter "/opt/data" may not be executed: EACCES (permission denied): make the interpreter executable, on a file system that is not mounted noexec',
    byStart: true,
  },
  {
    what: 'a program whose ELF loader is missing',
    args: ['loader'],
    message:
      'exec /opt/loader: its ELF loader "/lib/ld-nope.so.1" is missing: ENOENT (no such file or directory): add the C library that it is linked with to the image, or link it statically',
    byStart: true,
  },
  {
    what: 'a program for another architecture',
    args: ['/opt/foreign'],
    message: `exec /opt/foreign: is a program for ${names.get(foreign)}, this machine is ${names.get(native)}: ENOEXEC (exec format error): use an image for linux/${names.get(native)}, or install an emulator with binfmt_misc`,
    byStart: true,
  },
  {
    what: 'a script without a first line for the kernel',
    args: ['text'],
    message:
      'exec /opt/text: is neither an ELF program nor begins with #!: ENOEXEC (exec format error): begin the script with the path of its interpreter, as in #!/bin/sh',
    byStart: true,
  },
  {
    what: 'an empty program',
    args: ['/opt/empty'],
    message:
      'exec /opt/empty: is empty: ENOEXEC (exec format error): begin the script with the path of its interpreter, as in #!/bin/sh',
    byStart: true,
  },
  {
    what: 'a program on a file system that is mounted noexec',
    args: ['/opt/noexec/good'],
    message:
      'exec: "/opt/noexec/good": is on a file system that is mounted noexec: EACCES (permission denied): remove "noexec" from the options of that mount, or put the program elsewhere',
  },
  {
    what: 'a file without permission to execute',
    args: ['/opt/data'],
    message:
      'exec: "/opt/data": may not be executed by the process\'s user: EACCES (permission denied): make it executable in the image (chmod +x), and its directories accessible',
  },
  {
    what: 'a directory',
    args: ['/opt'],
    message: 'exec: "/opt": EISDIR (is a directory)',
  },
  {
    what: 'a file as a directory',
    args: ['/opt/data/x'],
    message: 'exec: "/opt/data/x": stat /opt/data/x: ENOTDIR (not a directory)',
  },
  {
    what: 'arguments that are too large',
    args: ['/bin/true', 'x'.repeat(200_000)],
    message:
      'exec /bin/true: its arguments and environment are larger than the kernel takes: E2BIG (argument list too long): pass large values in a file',
    byStart: true,
  },
];

function prepare(fixture: RuntimeFixture): void {
  for (const [name, content, mode] of PROGRAMS) {
    const path = join(fixture.rootfs, 'opt', name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, content, { mode });
  }
}

function configure(fixture: RuntimeFixture, args: readonly string[]): void {
  fixture.configure((config) => {
    config.process.args = args;
    config.process.env = ['PATH=/opt:/bin'];
    const source = join(fixture.rootfs, 'opt/noexec');
    const options = ['bind', 'noexec'];
    config.mounts.push({ destination: '/opt/noexec', type: 'bind', source, options });
  });
}

/** The arguments may be more than a command line can have. */
function processFile(args: readonly string[]): string {
  const path = join(ours.directory, 'process.json');
  writeFileSync(path, JSON.stringify({ args, cwd: '/', env: ['PATH=/opt:/bin'] }));
  return path;
}

before(() => {
  if (needsRoot !== false) return;
  for (const fixture of [ours, theirs]) if (fixture !== undefined) prepare(fixture);
  configure(ours, ['sleep', '1000']);
  assert.equal(ours.runDetached(['run', '--detach', sleeping]).status, 0);
});
after(() => {
  ours?.[Symbol.dispose]();
  theirs?.[Symbol.dispose]();
});

/** As the runtimes of engines are called: create, then start. Returns the error, and who had it. */
function createAndStart(fixture: RuntimeFixture): { command: string; error: string; id: string } {
  const id = fixture.newId();
  const created = fixture.runDetached(['create', id]);
  if (created.status !== 0) return { command: 'create', error: created.error, id };
  const started = fixture.runDetached(['start', id]);
  fixture.runDetached(['delete', '--force', id]);
  // runc's start says nothing: the container's exit status is all there is.
  return { command: 'start', error: started.error, id };
}

for (const { what, args, message, byStart } of ROWS) {
  test(`the program is ${what}`, { skip: needsRoot }, (t) => {
    configure(ours, args);
    const { command, error, id } = createAndStart(ours);
    assert.equal(error, message);
    assert.equal(command, byStart === true ? 'start' : 'create');
    assert.deepEqual(
      ours.leftovers(id).filter((each) => !each.startsWith('process ')),
      [],
    );
    const other = ours.newId();
    const run = ours.run(['run', other]);
    assert.deepEqual([run.status, run.error], [1, message]);
    assert.ok(!ours.leftovers(other).some((each) => each.includes(other)));
    const exec = ours.run(['exec', '--process', processFile(args), sleeping]);
    assert.deepEqual([exec.status, exec.error], [255, message]);
    if (theirs === undefined) return;
    configure(theirs, args);
    const original = createAndStart(theirs);
    t.diagnostic(`runc's ${original.command}: ${original.error.slice(0, 300)}`);
  });
}

test('the program is open for writing', { skip: needsRoot }, (t) => {
  const path = join(ours.rootfs, 'opt/busy');
  writeFileSync(path, '#!/bin/true\n', { mode: EXEC });
  const fd = openSync(path, 'r+');
  const message =
    'exec /opt/busy: is open for writing: ETXTBSY (text file busy): close it where it is written, before it is executed';
  try {
    configure(ours, ['busy']);
    const id = ours.newId();
    const { status, error } = ours.run(['run', id]);
    if (status === 0) t.diagnostic('this kernel executes what is open for writing');
    else assert.deepEqual([status, error], [1, message]);
    const exec = ours.run(['exec', sleeping, '/opt/busy']);
    if (status !== 0) assert.deepEqual([exec.status, exec.error], [255, message]);
  } finally {
    closeSync(fd);
    rmSync(path);
  }
});

test('a directory in PATH that has the name of the program is passed over', {
  skip: needsRoot,
}, () => {
  mkdirSync(join(ours.rootfs, 'opt/true'));
  try {
    configure(ours, ['true']);
    const { status, error } = ours.run(['run', ours.newId()]);
    assert.deepEqual([status, error], [0, '']);
    assert.equal(ours.run(['exec', sleeping, 'true']).status, 0);
  } finally {
    rmSync(join(ours.rootfs, 'opt/true'), { recursive: true });
  }
});
