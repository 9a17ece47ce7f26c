import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pipe, SeccompFilter, SyscallProgram, steps } from '../linux/index.ts';
import type { Seccomp, SeccompOperator } from '../oci/index.ts';
import { compileSeccomp } from './seccomp-filter.ts';

function whyNot(): string | false {
  if (process.arch !== 'x64') return 'the numbers in this test are those of x86-64';
  try {
    using filter = new SeccompFilter('SCMP_ACT_ALLOW');
    void filter;
    return false;
  } catch (thrown) {
    return `libseccomp: ${String(thrown)}`;
  }
}
const skip = whyNot();

const X86_64 = 0xc000003e;
const I386 = 0x40000003;
const ALLOW = 0x7fff0000;
const ERRNO = 0x00050000;
const KILL_THREAD = 0;

interface Call {
  readonly number: number;
  readonly architecture?: number;
  readonly args?: readonly bigint[];
}

/** What the kernel's interpreter of classic BPF answers (struct seccomp_data in, action out). */
function decide(program: Uint8Array, { number, architecture = X86_64, args = [] }: Call): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(number >>> 0, 0);
  data.writeUInt32LE(architecture, 4);
  args.forEach((value, index) => {
    data.writeBigUInt64LE(BigInt.asUintN(64, value), 16 + index * 8);
  });
  const code = Buffer.from(program);
  const memory = new Array<number>(16).fill(0);
  let accumulator = 0;
  let index = 0;
  for (let position = 0; position < code.length / 8; position++) {
    const opcode = code.readUInt16LE(position * 8);
    const ifTrue = code.readUInt8(position * 8 + 2);
    const ifFalse = code.readUInt8(position * 8 + 3);
    const operand = code.readUInt32LE(position * 8 + 4);
    const jump = (condition: boolean): void => {
      position += condition ? ifTrue : ifFalse;
    };
    switch (opcode) {
      case 0x20:
        accumulator = data.readUInt32LE(operand);
        break;
      case 0x54:
        accumulator = (accumulator & operand) >>> 0;
        break;
      case 0x05:
        position += operand;
        break;
      case 0x15:
        jump(accumulator === operand);
        break;
      case 0x25:
        jump(accumulator > operand);
        break;
      case 0x35:
        jump(accumulator >= operand);
        break;
      case 0x02:
        memory[operand] = accumulator;
        break;
      case 0x60:
        accumulator = memory[operand] ?? 0;
        break;
      case 0x07:
        index = accumulator;
        break;
      case 0x87:
        accumulator = index;
        break;
      case 0x06:
        return operand;
      default:
        throw new Error(`opcode 0x${opcode.toString(16)} at ${position}`);
    }
  }
  throw new Error('the program does not end');
}

const READ = 0;
const WRITE = 1;
const MMAP = 9;
const SOCKET = 41;

test('compileSeccomp: names of a list are allowed, others get the default', { skip }, () => {
  const {
    filter: program,
    flags,
    hasListener,
  } = compileSeccomp({
    defaultAction: 'SCMP_ACT_ERRNO',
    architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
    syscalls: [{ names: ['read', 'socket', 'no_such_call'], action: 'SCMP_ACT_ALLOW' }],
  });
  assert.equal(decide(program, { number: READ }), ALLOW);
  assert.equal(decide(program, { number: SOCKET }), ALLOW);
  assert.equal(decide(program, { number: WRITE }), ERRNO | 1);
  assert.equal(decide(program, { number: 3, architecture: I386 }), ALLOW);
  // On i386 socket(2) is also the first call of socketcall(2).
  assert.equal(decide(program, { number: 359, architecture: I386 }), ALLOW);
  assert.equal(decide(program, { number: 102, architecture: I386, args: [1n] }), ALLOW);
  assert.equal(decide(program, { number: 102, architecture: I386, args: [2n] }), ERRNO | 1);
  assert.deepEqual(flags, ['SECCOMP_FILTER_FLAG_SPEC_ALLOW']);
  assert.equal(hasListener, false);
});

const ACTIONS = [
  ['SCMP_ACT_KILL', undefined, KILL_THREAD],
  ['SCMP_ACT_KILL_THREAD', undefined, KILL_THREAD],
  ['SCMP_ACT_KILL_PROCESS', undefined, 0x80000000],
  ['SCMP_ACT_TRAP', undefined, 0x00030000],
  ['SCMP_ACT_ERRNO', undefined, ERRNO | 1],
  ['SCMP_ACT_ERRNO', 5, ERRNO | 5],
  ['SCMP_ACT_TRACE', undefined, 0x7ff00001],
  ['SCMP_ACT_TRACE', 7, 0x7ff00007],
  ['SCMP_ACT_LOG', undefined, 0x7ffc0000],
  ['SCMP_ACT_NOTIFY', undefined, 0x7fc00000],
] as const;

for (const [action, errnoRet, expected] of ACTIONS) {
  test(`compileSeccomp: ${action} with errnoRet ${errnoRet}`, { skip }, () => {
    const { filter: program } = compileSeccomp({
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['read'], action, ...(errnoRet === undefined ? {} : { errnoRet }) }],
    });
    assert.equal(decide(program, { number: READ }), expected);
    assert.equal(decide(program, { number: WRITE }), ALLOW);
  });
}

const BIG = 0x1_0000_0005n;
const OPERATORS: [SeccompOperator, bigint, bigint | undefined, [bigint, boolean][]][] = [
  [
    'SCMP_CMP_EQ',
    BIG,
    undefined,
    [
      [BIG, true],
      [5n, false],
      [BIG + 1n, false],
    ],
  ],
  [
    'SCMP_CMP_NE',
    BIG,
    undefined,
    [
      [BIG, false],
      [5n, true],
    ],
  ],
  [
    'SCMP_CMP_LT',
    BIG,
    undefined,
    [
      [BIG, false],
      [BIG - 1n, true],
      [7n, true],
    ],
  ],
  [
    'SCMP_CMP_LE',
    BIG,
    undefined,
    [
      [BIG, true],
      [BIG + 1n, false],
    ],
  ],
  [
    'SCMP_CMP_GE',
    BIG,
    undefined,
    [
      [BIG, true],
      [BIG - 1n, false],
    ],
  ],
  [
    'SCMP_CMP_GT',
    BIG,
    undefined,
    [
      [BIG, false],
      [BIG + 1n, true],
      [7n, false],
    ],
  ],
  [
    'SCMP_CMP_MASKED_EQ',
    0xf0n,
    0x20n,
    [
      [0x2fn, true],
      [0x3fn, false],
      [0x120n, true],
    ],
  ],
  [
    'SCMP_CMP_EQ',
    2n ** 64n - 1n,
    undefined,
    [
      [2n ** 64n - 1n, true],
      [2n ** 32n - 1n, false],
    ],
  ],
];

for (const [op, value, valueTwo, expectations] of OPERATORS) {
  test(`compileSeccomp: ${op} ${value} compares all 64 bits`, { skip }, () => {
    const { filter: program } = compileSeccomp({
      defaultAction: 'SCMP_ACT_ERRNO',
      syscalls: [
        {
          names: ['mmap'],
          action: 'SCMP_ACT_ALLOW',
          args: [{ index: 2, op, value, ...(valueTwo === undefined ? {} : { valueTwo }) }],
        },
      ],
    });
    for (const [given, isAllowed] of expectations) {
      const decision = decide(program, { number: MMAP, args: [0n, 0n, given] });
      assert.equal(decision === ALLOW, isAllowed, `argument ${given}`);
    }
  });
}

test('compileSeccomp: conditions on different arguments must all hold', { skip }, () => {
  const { filter: program } = compileSeccomp({
    defaultAction: 'SCMP_ACT_ERRNO',
    syscalls: [
      {
        names: ['mmap'],
        action: 'SCMP_ACT_ALLOW',
        args: [
          { index: 0, op: 'SCMP_CMP_EQ', value: 1n },
          { index: 1, op: 'SCMP_CMP_EQ', value: 2n },
        ],
      },
    ],
  });
  assert.equal(decide(program, { number: MMAP, args: [1n, 2n] }), ALLOW);
  assert.equal(decide(program, { number: MMAP, args: [1n, 3n] }), ERRNO | 1);
  assert.equal(decide(program, { number: MMAP, args: [0n, 2n] }), ERRNO | 1);
});

test('compileSeccomp: of conditions on one argument any is enough', { skip }, () => {
  const { filter: program } = compileSeccomp({
    defaultAction: 'SCMP_ACT_ERRNO',
    syscalls: [
      {
        names: ['personality'],
        action: 'SCMP_ACT_ALLOW',
        args: [
          { index: 0, op: 'SCMP_CMP_EQ', value: 0n },
          { index: 0, op: 'SCMP_CMP_EQ', value: 8n },
        ],
      },
    ],
  });
  const personality = 135;
  assert.equal(decide(program, { number: personality, args: [0n] }), ALLOW);
  assert.equal(decide(program, { number: personality, args: [8n] }), ALLOW);
  assert.equal(decide(program, { number: personality, args: [4n] }), ERRNO | 1);
});

test('compileSeccomp: calls newer than the profile get ENOSYS, on each architecture', {
  skip,
}, () => {
  const profile: Seccomp = {
    defaultAction: 'SCMP_ACT_ERRNO',
    architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
    syscalls: [{ names: ['read', 'statx'], action: 'SCMP_ACT_ALLOW' }],
  };
  const { filter: program } = compileSeccomp(profile);
  const ENOSYS = ERRNO | 38;
  assert.equal(decide(program, { number: 332 }), ALLOW); // statx
  assert.equal(decide(program, { number: 331 }), ERRNO | 1);
  assert.equal(decide(program, { number: 333 }), ENOSYS);
  assert.equal(decide(program, { number: 383, architecture: I386 }), ALLOW);
  assert.equal(decide(program, { number: 384, architecture: I386 }), ENOSYS);
  assert.equal(decide(program, { number: 0x40000000 + 332 }), ALLOW); // x32
  assert.equal(decide(program, { number: 0x40000000 + 333 }), ENOSYS);
  assert.equal(decide(program, { number: 0xffffffff }), ENOSYS);
  // An architecture that is not of the profile is killed, whatever it calls.
  assert.equal(decide(program, { number: 9999, architecture: 0xc00000b7 }), KILL_THREAD);

  const isLoud = compileSeccomp({ ...profile, defaultErrnoRet: 38 }).filter;
  assert.equal(decide(isLoud, { number: 331 }), ENOSYS);
  const permissive = compileSeccomp({ ...profile, defaultAction: 'SCMP_ACT_LOG' }).filter;
  assert.equal(decide(permissive, { number: 9999 }), 0x7ffc0000);
});

test('compileSeccomp: a listener and flags, but no threads to synchronize', { skip }, () => {
  const { flags, hasListener } = compileSeccomp({
    defaultAction: 'SCMP_ACT_ALLOW',
    flags: ['SECCOMP_FILTER_FLAG_TSYNC', 'SECCOMP_FILTER_FLAG_LOG'],
    listenerPath: '/run/agent.sock',
    syscalls: [{ names: ['mkdirat'], action: 'SCMP_ACT_NOTIFY' }],
  });
  assert.deepEqual(flags, ['SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_NEW_LISTENER']);
  assert.equal(hasListener, true);
  assert.deepEqual(compileSeccomp({ defaultAction: 'SCMP_ACT_ALLOW', flags: [] }).flags, []);
});

test('compileSeccomp: what says the default again, or twice the same, is no error', {
  skip,
}, () => {
  const { filter: program } = compileSeccomp({
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 1,
    syscalls: [
      { names: ['write'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 },
      { names: ['read', 'read'], action: 'SCMP_ACT_ALLOW' },
      { names: ['read'], action: 'SCMP_ACT_ALLOW' },
    ],
  });
  assert.equal(decide(program, { number: READ }), ALLOW);
  assert.equal(decide(program, { number: WRITE }), ERRNO | 1);
});

test('compileSeccomp: the kernel takes the filter and applies it', { skip }, () => {
  const { filter, flags } = compileSeccomp({
    defaultAction: 'SCMP_ACT_ALLOW',
    architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
    syscalls: [
      {
        names: ['umask'],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: 74,
        args: [{ index: 0, op: 'SCMP_CMP_EQ', value: 7n }],
      },
    ],
  });
  using pipe = new Pipe();
  const fd = pipe.writeEnd.number;
  const program = new SyscallProgram();
  program.main.clone(steps.cloneProcess(), { reportTo: fd }, (child) => {
    child.add(steps.setNoNewPrivileges());
    child.add(steps.setSeccompFilter(filter, flags));
    child.add(steps.setUmask(0o6));
    child.add(steps.setUmask(0o7));
  });
  using run = program.run();
  void run;
  pipe.writeEnd.close();
  assert.throws(() => program.readReport(pipe.readEnd.number), {
    message: 'set umask 07: EBADMSG',
  });
});

test("compileSeccomp: decides as libseccomp's own filter does, for random profiles", {
  skip,
}, () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1e6);
  console.log(`seed ${seed}`);
  let state = seed;
  const random = (below: number): number => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return Math.floor((state / 2147483648) * below);
  };
  const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;
  const names = (
    'read write open close stat mmap ioctl socket connect accept4 sendmmsg recvmmsg semop semtimedop ' +
    'shmctl msgget socketcall ipc personality clone clone3 statx _llseek waitpid fcntl64 chown32 ' +
    'clock_gettime64 arm_fadvise64_64 no_such_call umount umount2 mlock2 futex_wait'
  ).split(' ');
  const operators = [
    'SCMP_CMP_NE',
    'SCMP_CMP_LT',
    'SCMP_CMP_LE',
    'SCMP_CMP_EQ',
    'SCMP_CMP_GE',
    'SCMP_CMP_GT',
    'SCMP_CMP_MASKED_EQ',
  ] as const;
  const values = [
    0n,
    1n,
    2n,
    3n,
    5n,
    0x10n,
    0xffffffffn,
    0x1_0000_0000n,
    0x1_0000_0005n,
    2n ** 64n - 1n,
  ];
  // Not aarch64: libseccomp 2.5.4 compares its calls with a number that it has not loaded.
  const architectures = ['SCMP_ARCH_X86', 'SCMP_ARCH_X86_64', 'SCMP_ARCH_X32'] as const;
  let compared = 0;
  for (let round = 0; round < 150; round++) {
    const profile: Seccomp = {
      defaultAction: pick(['SCMP_ACT_ERRNO', 'SCMP_ACT_ALLOW']),
      architectures: architectures.filter(() => random(2) === 0),
      syscalls: [
        // libseccomp 2.5.4 does not load the call's number if the first rule is about a call that the architecture does
        // not have and the next one has conditions.
        { names: ['getpid'], action: 'SCMP_ACT_LOG', args: [] },
        ...names
          .filter(() => random(3) === 0)
          .map((name) => ({
            names: [name],
            action: pick(['SCMP_ACT_LOG', 'SCMP_ACT_TRAP', 'SCMP_ACT_KILL_PROCESS'] as const),
            args: Array.from({ length: Math.max(0, random(5) - 2) }, (_, index) => ({
              index: index * (1 + random(2)),
              value: pick(values),
              valueTwo: pick(values),
              op: pick(operators),
            })),
          })),
      ],
    };
    const withoutGuard: Seccomp =
      profile.defaultAction === 'SCMP_ACT_ERRNO' ? { ...profile, defaultErrnoRet: 38 } : profile;
    using reference = new SeccompFilter(profile.defaultAction, 38);
    const refusal = addRules(reference, profile);
    if (refusal !== undefined) {
      // Calls that share a number on i386 (ipc and semop, say), with different actions.
      assert.throws(() => compileSeccomp(withoutGuard), { message: refusal }, `seed ${seed}`);
      continue;
    }
    const { filter } = compileSeccomp(withoutGuard);
    const expected = reference.compile();
    for (let call = 0; call < 400; call++) {
      const number = random(10) === 0 ? random(2 ** 32) : random(460);
      const isX32 = random(4) === 0;
      const given = {
        number: isX32 ? number + 0x40000000 : number,
        architecture: isX32 ? X86_64 : pick([X86_64, I386, 0xc00000b7, 0x40000028]),
        args: Array.from({ length: 6 }, () =>
          random(4) === 0 ? BigInt(random(25)) : pick(values),
        ),
      };
      const text = () => {
        const plain = (_: string, value: unknown) =>
          typeof value === 'bigint' ? `${value}` : value;
        return `seed ${seed}: ${JSON.stringify({ given, profile }, plain)}`;
      };
      assert.equal(decide(filter, given), decide(expected, given), text());
      compared++;
    }
  }
  assert.ok(compared > 10000);
});

test('compileSeccomp: what only libseccomp can say is left to it', { skip }, () => {
  // One call, two actions: which condition is looked at first is libseccomp's choice.
  const { filter } = compileSeccomp({
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [
      {
        names: ['mmap'],
        action: 'SCMP_ACT_LOG',
        args: [{ index: 0, op: 'SCMP_CMP_EQ', value: 1n }],
      },
      {
        names: ['mmap'],
        action: 'SCMP_ACT_TRAP',
        args: [{ index: 0, op: 'SCMP_CMP_EQ', value: 2n }],
      },
    ],
  });
  assert.equal(decide(filter, { number: MMAP, args: [1n] }), 0x7ffc0000);
  assert.equal(decide(filter, { number: MMAP, args: [2n] }), 0x00030000);
  assert.equal(decide(filter, { number: MMAP, args: [3n] }), ALLOW);
  assert.throws(
    () => compileSeccomp({ defaultAction: 'SCMP_ACT_ALLOW', architectures: ['SCMP_ARCH_S390X'] }),
    { message: /^add seccomp architecture SCMP_ARCH_S390X: / },
  );
});

/** Gives a profile's rules to libseccomp; returns why it refuses one. */
function addRules(filter: SeccompFilter, { architectures = [], syscalls = [] }: Seccomp) {
  for (const architecture of architectures) filter.addArchitecture(architecture);
  for (const { names, action, args = [] } of syscalls) {
    const conditions = args.map(({ op: operator, value, valueTwo = 0n, index }) => {
      return { operator, value, valueTwo, index };
    });
    const isShared = new Set(args.map(({ index }) => index)).size < args.length;
    const alternatives = isShared ? conditions.map((one) => [one]) : [conditions];
    try {
      for (const alternative of alternatives) filter.addRule(`${names[0]}`, action, 0, alternative);
    } catch (thrown) {
      return (thrown as Error).message;
    }
  }
  return undefined;
}
