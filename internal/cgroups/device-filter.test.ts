import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeviceRule } from '../oci/index.ts';
import { deviceFilter } from './device-filter.ts';
import { containerDeviceRules, deviceTable } from './device-rules.ts';

interface Request {
  readonly type: 'b' | 'c';
  readonly major: number;
  readonly minor: number;
  readonly access: string;
}

/** What the kernel's interpreter answers for the few instructions of a filter. */
function allows(program: Uint8Array, { type, major, minor, access }: Request): boolean {
  const code = Buffer.from(program);
  const bits =
    (access.includes('m') ? 1 : 0) |
    (access.includes('r') ? 2 : 0) |
    (access.includes('w') ? 4 : 0);
  const context = Buffer.alloc(12);
  context.writeUInt32LE(((bits << 16) | (type === 'b' ? 1 : 2)) >>> 0, 0);
  context.writeUInt32LE(major, 4);
  context.writeUInt32LE(minor, 8);
  const registers = new Array<number>(11).fill(Number.NaN);
  for (let position = 0; position < code.length / 8; position++) {
    const opcode = code.readUInt8(position * 8);
    const to = code.readUInt8(position * 8 + 1) & 15;
    const from = code.readUInt8(position * 8 + 1) >> 4;
    const offset = code.readInt16LE(position * 8 + 2);
    const immediate = code.readInt32LE(position * 8 + 4);
    const value = registers[to] as number;
    switch (opcode) {
      case 0x61:
        assert.equal(from, 1, 'loads come from the context');
        registers[to] = context.readUInt32LE(offset);
        break;
      case 0xb7:
        registers[to] = immediate;
        break;
      case 0xbc:
        registers[to] = (registers[from] as number) >>> 0;
        break;
      case 0x54:
        registers[to] = (value & immediate) >>> 0;
        break;
      case 0x74:
        registers[to] = value >>> immediate;
        break;
      case 0x15:
        if (value === immediate) position += offset;
        break;
      case 0x55:
        if (value !== immediate) position += offset;
        break;
      case 0x95:
        return registers[0] === 1;
      default:
        throw new Error(`opcode 0x${opcode.toString(16)} at ${position}`);
    }
  }
  throw new Error('the program does not end');
}

function parseRequest(text: string): Request {
  const [, type, major, minor, access] = /^([bc]) (\d+):(\d+) ([rwm]+)$/.exec(text) ?? [];
  assert.ok(access, text);
  return { type: type as 'b' | 'c', major: Number(major), minor: Number(minor), access };
}

const DENY_ALL: DeviceRule = { allow: false, access: 'rwm' };
const ALLOW_ALL: DeviceRule = { allow: true, type: 'a', access: 'rwm' };

const TABLES: [string, DeviceRule[], { yes: string[]; no: string[] }][] = [
  ['no rules deny everything', [], { yes: [], no: ['c 1:3 r', 'b 8:0 m'] }],
  [
    'what every container has',
    containerDeviceRules([DENY_ALL]),
    {
      yes: [
        'c 1:3 rw',
        'c 1:9 rwm',
        'c 136:77 rw',
        'c 5:2 rw',
        'c 10:200 rwm',
        'c 10:229 m',
        'b 8:0 m',
      ],
      no: ['c 10:229 r', 'b 8:0 r', 'b 1:3 rw', 'c 10:229 rm', 'c 1:1 r', 'c 5:1 w'],
    },
  ],
  ['privileged', containerDeviceRules([ALLOW_ALL]), { yes: ['c 1:1 rwm', 'b 8:0 rwm'], no: [] }],
  [
    'exceptions of allow-all: any denied part denies',
    [ALLOW_ALL, { allow: false, type: 'b', major: 8, access: 'w' }],
    { yes: ['b 8:0 r', 'b 8:3 m', 'b 9:0 w', 'c 8:0 w'], no: ['b 8:0 w', 'b 8:1 rw'] },
  ],
  [
    'a later rule takes back what it covers',
    [
      { allow: true, type: 'c', major: 10, minor: 229, access: 'rwm' },
      { allow: false, type: 'c', access: 'w' },
    ],
    { yes: ['c 10:229 r', 'c 10:229 rm'], no: ['c 10:229 w', 'c 10:229 rw'] },
  ],
  [
    'all again',
    [DENY_ALL, { allow: true, type: 'c', major: 1, access: 'r' }, { allow: false }],
    { yes: [], no: ['c 1:3 r'] },
  ],
  [
    'rules of one device add up',
    [
      { allow: true, type: 'c', major: 1, minor: 3, access: 'r' },
      { allow: true, type: 'c', major: 1, minor: 3, access: 'w' },
    ],
    { yes: ['c 1:3 rw'], no: ['c 1:3 rwm', 'c 1:4 r'] },
  ],
  [
    'minus one is any',
    [{ allow: true, type: 'b', major: 8, minor: -1, access: 'r' }],
    { yes: ['b 8:15 r'], no: ['b 9:15 r'] },
  ],
];

for (const [what, rules, { yes, no }] of TABLES) {
  test(`deviceFilter: ${what}`, () => {
    const program = deviceFilter(deviceTable(rules));
    for (const request of yes) assert.ok(allows(program, parseRequest(request)), request);
    for (const request of no) assert.ok(!allows(program, parseRequest(request)), request);
  });
}

test('deviceTable: a part of a wider rule cannot be taken back', () => {
  const rules: DeviceRule[] = [
    { allow: true, type: 'c', major: 1, access: 'rw' },
    { allow: false, type: 'c', major: 1, minor: 3, access: 'w' },
  ];
  assert.throws(() => deviceTable(rules), {
    kind: 'InvalidArgument',
    code: 'TS_CGROUP_DEVICE_RULE',
    message: 'linux.resources.devices[1]: "c 1:3 w" would take back a part of "c 1:* rw"',
  });
});

test('deviceFilter: decides as the rules in order do, for random rules', () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1e6);
  console.log(`seed ${seed}`);
  let state = seed;
  const random = (below: number): number => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return Math.floor((state / 2147483648) * below);
  };
  const accesses = ['r', 'w', 'm', 'rw', 'rm', 'wm', 'rwm'];
  let compared = 0;
  for (let round = 0; round < 3000; round++) {
    const rules: DeviceRule[] = Array.from({ length: 1 + random(5) }, () => {
      if (random(5) === 0) return { allow: random(2) === 0, access: 'rwm' };
      return {
        allow: random(2) === 0,
        type: random(2) === 0 ? 'b' : 'c',
        major: random(3) - 1,
        minor: random(3) - 1,
        access: accesses[random(7)] as string,
      };
    });
    let table: ReturnType<typeof deviceTable>;
    try {
      table = deviceTable(rules);
    } catch {
      continue; // takes back a part of a wider rule
    }
    const program = deviceFilter(table);
    for (let request = 0; request < 5; request++) {
      const type = random(2) === 0 ? 'b' : 'c';
      const [major, minor] = [random(2), random(2)];
      const access = 'rwm'[random(3)] as string;
      const deciding = rules.findLast(
        (rule) =>
          rule.type === undefined ||
          (rule.type === type &&
            (rule.major === -1 || rule.major === major) &&
            (rule.minor === -1 || rule.minor === minor) &&
            rule.access?.includes(access)),
      );
      const expected = deciding?.allow ?? false;
      const text = `seed ${seed}: ${JSON.stringify(rules)} ${type} ${major}:${minor} ${access}`;
      assert.equal(allows(program, { type, major, minor, access }), expected, text);
      compared++;
    }
  }
  assert.ok(compared > 1000);
});
