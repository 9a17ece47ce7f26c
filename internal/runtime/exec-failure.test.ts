import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explainExecFailure, type SecurityModules } from './exec-failure.ts';

function elf({ machine = 62, loader = '' } = {}): Buffer {
  const bytes = Buffer.alloc(256);
  bytes.write('\x7fELF', 'latin1');
  bytes.set([2, 1, 1], 4);
  bytes.writeUInt16LE(machine, 18);
  bytes.writeBigUInt64LE(64n, 32);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(loader === '' ? 0 : 1, 56);
  bytes.writeUInt32LE(3, 64);
  bytes.writeBigUInt64LE(128n, 72);
  bytes.writeBigUInt64LE(BigInt(loader.length + 1), 96);
  bytes.write(loader, 128, 'latin1');
  return bytes;
}

const ROWS: readonly [string, string, string | Buffer | undefined, string][] = [
  [
    'an interpreter',
    'ENOENT',
    '#!/bin/nope -x\n',
    'exec /p: its interpreter "/bin/nope" is missing',
  ],
  [
    'spaces before it',
    'ENOENT',
    '#! \t/bin/nope\n',
    'exec /p: its interpreter "/bin/nope" is missing',
  ],
  [
    'CRLF',
    'ENOENT',
    '#!/bin/sh\r\necho\r\n',
    'exec /p: its interpreter "/bin/sh\\r" is missing, as its lines end in CRLF',
  ],
  [
    'CRLF after an argument',
    'ENOENT',
    '#!/bin/sh -e\r\n',
    'exec /p: its interpreter "/bin/sh\\r" is missing, as its lines end in CRLF',
  ],
  [
    'control characters',
    'ENOENT',
    '#!\x1b[2J\n',
    'exec /p: its interpreter "\\u001b[2J" is missing',
  ],
  [
    'an interpreter that may not run',
    'EACCES',
    '#!/i\n',
    'exec /p: its interpreter "/i" may not be executed',
  ],
  ['no interpreter', 'ENOEXEC', '#!\n', 'exec /p: names no interpreter after #!'],
  [
    'a loader',
    'ENOENT',
    elf({ loader: '/lib/ld.so' }),
    'exec /p: its ELF loader "/lib/ld.so" is missing',
  ],
  ['no loader', 'ENOENT', elf(), 'exec /p'],
  [
    'another machine',
    'ENOEXEC',
    elf({ machine: 183 }),
    'exec /p: is a program for arm64, this machine is amd64',
  ],
  [
    'an unknown machine',
    'ENOEXEC',
    elf({ machine: 999 }),
    'exec /p: is a program for machine 999, this machine is amd64',
  ],
  ['the same machine', 'ENOEXEC', elf(), 'exec /p: is a broken ELF program'],
  ['a cut header', 'ENOEXEC', elf().subarray(0, 10), 'exec /p: is a truncated ELF program'],
  ['nothing', 'ENOEXEC', '', 'exec /p: is empty'],
  ['text', 'ENOEXEC', 'echo', 'exec /p: is neither an ELF program nor begins with #!'],
  ['whatever', 'ETXTBSY', undefined, 'exec /p: is open for writing'],
  [
    'whatever',
    'E2BIG',
    undefined,
    'exec /p: its arguments and environment are larger than the kernel takes',
  ],
  ['bytes that are not known', 'ENOENT', undefined, 'exec /p'],
];
for (const [what, errno, head, expected] of ROWS) {
  test(`explainExecFailure: ${errno} of a program with ${what}`, {
    skip: expected.includes('amd64') && process.arch !== 'x64' ? 'names amd64' : false,
  }, () => {
    const bytes = typeof head === 'string' ? Buffer.from(head, 'latin1') : head;
    assert.equal(explainExecFailure('exec /p', errno, bytes).operation, expected);
  });
}

test('explainExecFailure: other steps are left as they are', () => {
  const operation = 'exec: "x": stat x';
  assert.deepEqual(explainExecFailure(operation, 'ENOENT', Buffer.from('#!/x\n')), { operation });
});

test('explainExecFailure: program headers that lie lead nowhere', () => {
  for (const [offset, value] of [
    [32, 0xffff_ffff_ffff_ffffn],
    [72, 0xffff_ffff_ffff_ffffn],
    [96, 0xffff_ffff_ffff_ffffn],
  ] as const) {
    const bytes = elf({ loader: '/x' });
    bytes.writeBigUInt64LE(value, offset);
    assert.equal(explainExecFailure('exec /p', 'ENOENT', bytes).operation, 'exec /p');
  }
  const endless = elf({ loader: '/x' });
  endless.writeUInt32LE(1, 64);
  endless.writeUInt16LE(0, 54);
  endless.writeUInt16LE(0xffff, 56);
  assert.equal(explainExecFailure('exec /p', 'ENOENT', endless).operation, 'exec /p');
});

test('explainExecFailure: what nothing else explains may be the denial of a security module', () => {
  const explain = (errno: string, head: string, modules: SecurityModules) =>
    explainExecFailure('exec /p', errno, Buffer.from(head), () => modules);
  assert.deepEqual(explain('EACCES', '\x7fELF', ['SELinux', 'AppArmor']), {
    operation: 'exec /p',
    advice:
      'look for the denial with "ausearch -m avc -ts recent", and give the files a label that the process may execute (linux.mountLabel, or chcon)',
  });
  assert.deepEqual(explain('EACCES', '\x7fELF', ['AppArmor']), {
    operation: 'exec /p',
    advice:
      'look for the denial with "dmesg | grep apparmor", and allow the program in the profile of the process',
  });
  assert.deepEqual(explain('EACCES', '\x7fELF', []), { operation: 'exec /p' });
  assert.deepEqual(explain('EPERM', '\x7fELF', ['SELinux', 'AppArmor']), { operation: 'exec /p' });
  const around = ['AppArmor', 'AppArmor around tsrunc'] as const;
  assert.match(explain('EACCES', '\x7fELF', around).advice ?? '', /^look for the denial/);
  assert.match(explain('EPERM', '\x7fELF', around).advice ?? '', /^tsrunc itself is confined /);
  assert.match(explain('EACCES', '#!/i\n', ['SELinux']).advice ?? '', /^make the interpreter/);
});

test('explainExecFailure: the advice names the program', () => {
  const { advice } = explainExecFailure('exec /bin/x', 'ENOENT', Buffer.from('#!/bin/sh\r\n'));
  assert.equal(advice, "convert them in the image: sed -i 's/\\r$//' /bin/x");
});
