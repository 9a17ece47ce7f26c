// A wrong value of any property of config.json is refused with an error that begins with the property's path, and nothing
// is left. The rows are made from the facts (test/wire/oci-runtime-spec.json): a value of another type, one outside of its
// range, one that is not in its list.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parseSpec } from '../../internal/oci/index.ts';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

interface Fact {
  readonly type: string;
  readonly int?: string;
  readonly range?: readonly [number | null, number | null];
  readonly enum?: readonly string[];
  readonly platform?: string;
  readonly required?: boolean;
}
const facts: { config: Record<string, Fact> } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../wire/oci-runtime-spec.json'), 'utf8'),
);

const OTHER_PLATFORMS = /^(solaris|windows|vm|zos|freebsd)\b/;
const ours = Object.entries(facts.config).filter(
  ([path, { platform }]) =>
    !OTHER_PLATFORMS.test(path) && (platform === undefined || platform.includes('linux')),
);

/** A smallest value for each property that others need beside them. */
const BESIDE: Readonly<Record<string, Config>> = {
  'hooks.*[]': { path: '/bin/true' },
  'mounts[]': { destination: '/x' },
  '*Mappings[]': { containerID: 0, hostID: 0, size: 1 },
  'process.rlimits[]': { type: 'RLIMIT_CORE', hard: 0, soft: 0 },
  'process.ioPriority': { class: 'IOPRIO_CLASS_BE', priority: 0 },
  'process.scheduler': { policy: 'SCHED_OTHER' },
  'process.consoleSize': { height: 1, width: 1 },
  'linux.devices[]': { type: 'c', path: '/dev/x', major: 1, minor: 3 },
  'linux.namespaces[]': { type: 'mount' },
  'linux.resources.devices[]': { allow: false },
  'throttle*[]': { major: 1, minor: 1, rate: 1 },
  'weightDevice[]': { major: 1, minor: 1 },
  'hugepageLimits[]': { pageSize: '2MB', limit: 1 },
  'priorities[]': { name: 'lo', priority: 1 },
  'linux.seccomp': { defaultAction: 'SCMP_ACT_ALLOW' },
  'syscalls[]': { names: ['read'], action: 'SCMP_ACT_ALLOW' },
  'args[]': { index: 0, value: 0, op: 'SCMP_CMP_EQ' },
  'linux.memoryPolicy': { mode: 'MPOL_DEFAULT' },
  'linux.personality': { domain: 'LINUX' },
};

function beside(path: string): Config {
  const found = Object.keys(BESIDE).find((pattern) => {
    const expression = pattern.replace(/[.[\]]/g, '\\$&').replace('*', '\\w*');
    return new RegExp(`(^|\\.|[a-z])${expression}$`).test(path);
  });
  return found === undefined ? {} : structuredClone(BESIDE[found]);
}

function minimal(): Config {
  return {
    ociVersion: '1.2.0',
    root: { path: 'rootfs' },
    process: { args: ['true'], cwd: '/', user: { uid: 0, gid: 0 } },
    linux: { namespaces: [{ type: 'mount' }] },
  };
}

/** A configuration whose only fault is the value of one property; with it the path that the error names. */
function withValue(path: string, value: unknown): { config: Config; place: string } {
  const config = minimal();
  const parts = path.split('.');
  let object = config;
  let place = '';
  parts.forEach((part, index) => {
    const [, name = '', kind = ''] = /^(\w+)(\[\]|\{\})?$/.exec(part) ?? [];
    place += place === '' ? name : `.${name}`;
    const above = parts.slice(0, index).join('.');
    const isLast = index === parts.length - 1;
    if (isLast) {
      object[name] = value;
      return;
    }
    if (kind === '[]') {
      object[name] = [beside(`${above === '' ? '' : `${above}.`}${part}`)];
      object = object[name][0];
      place += '[0]';
    } else if (kind === '{}') {
      object[name] = { key: {} };
      object = object[name].key;
      place += '.key';
    } else {
      object[name] ??= beside(parts.slice(0, index + 1).join('.'));
      object = object[name];
    }
  });
  return { config, place };
}

const LIMITS: Readonly<Record<string, readonly [bigint, bigint]>> = {
  uint16: [-1n, 65536n],
  uint32: [-1n, 4294967296n],
  int32: [-2147483649n, 2147483648n],
  uint64: [-1n, 18446744073709551616n],
  int64: [-9223372036854775809n, 9223372036854775808n],
};

/** Values that a property cannot have. */
function* wrongValues({ type, int, range, enum: names }: Fact): Generator<unknown> {
  if (type === 'string') yield 7;
  else yield 'text';
  if (type.endsWith('[]')) yield { a: 1 };
  if (type.startsWith('object') || type.startsWith('map')) yield true;
  if (type === 'integer') {
    yield 1.5;
    yield true;
    for (const limit of LIMITS[int ?? ''] ?? []) yield limit;
    if (range?.[0] !== null && range?.[0] !== undefined) yield BigInt(range[0] - 1);
  }
  if (names !== undefined) {
    const unknown = 'NO_SUCH_NAME';
    yield type.endsWith('[]') ? [unknown] : unknown;
  }
  if (type === 'string[]') yield [7];
  if (type === 'integer[]') yield ['text'];
  if (type === 'map<string>') yield { key: 7 };
}

/** As JSON, with integers of any size. */
function toJson(value: Config): string {
  const text = JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? `#${each}#` : each));
  return text.replace(/"#(-?\d+)#"/g, '$1');
}

for (const [path, fact] of ours) {
  test(`a wrong ${path} is refused by its name`, () => {
    for (const value of wrongValues(fact)) {
      const { config, place } = withValue(path, value);
      const text = toJson(config);
      assert.throws(
        () => parseSpec(Buffer.from(text)),
        (error: Error) => {
          const said = error.message;
          const isNamed = said.startsWith(`config.json: ${place}`);
          assert.ok(isNamed, `${text}\n${said}\nnot ${place}`);
          return true;
        },
        text,
      );
    }
  });
}

test('what is required is missed by its name', () => {
  for (const [path, { required }] of ours) {
    if (required !== true || path === 'linux.resources.pids.limit') continue;
    const { config, place } = withValue(path, undefined);
    assert.throws(() => parseSpec(Buffer.from(toJson(config))), {
      message: new RegExp(`^config\\.json: ${place.replace(/[.[\]]/g, '\\$&')}: is required`),
    });
  }
});

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;

const hasApparmor = existsSync('/sys/kernel/security/apparmor/profiles');
const hasSelinux = existsSync('/sys/fs/selinux/enforce');
const ABSENT: [string, string | false, (config: Config) => void, string][] = [
  [
    'process.apparmorProfile',
    hasApparmor && 'AppArmor is here',
    ({ process }) => (process.apparmorProfile = 'unconfined'),
    'AppArmor',
  ],
  [
    'process.selinuxLabel',
    hasSelinux && 'SELinux is here',
    ({ process }) => (process.selinuxLabel = 'a:b:c:s0'),
    'SELinux',
  ],
  [
    'linux.mountLabel',
    hasSelinux && 'SELinux is here',
    ({ linux }) => (linux.mountLabel = 'a:b:c:s0'),
    'SELinux',
  ],
];
for (const [property, isHere, change, module] of ABSENT) {
  test(`${property} where its module is absent is refused`, { skip: needsRoot || isHere }, () => {
    const id = runtime.newId();
    runtime.configure(change);
    const { status, error } = runtime.run(['run', id]);
    const message = `config.json: ${property}: is given, but ${module} is disabled or not supported`;
    assert.deepEqual({ status, error }, { status: 1, error: message });
    assert.deepEqual(runtime.leftovers(id), []);
  });
}
