import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TsError } from '../errors/index.ts';
import { defaultSpec, rootlessSpec } from './default-spec.ts';
import { formatJson } from './json.ts';
import { parseProcess, parseResources, parseSpec, refuseProperties } from './parse-spec.ts';

type Plain = Record<string, unknown>;

/** The default configuration with some properties, by path, replaced; undefined removes one. */
function configWith(changes: Record<string, unknown>): string {
  const config = JSON.parse(formatJson(defaultSpec(true))) as Plain;
  for (const [path, value] of Object.entries(changes)) {
    const parts = path.split('.');
    let parent = config;
    for (const part of parts.slice(0, -1)) {
      parent[part] ??= {};
      parent = parent[part] as Plain;
    }
    const last = parts.at(-1) as string;
    if (value === undefined) delete parent[last];
    else parent[last] = value;
  }
  return formatJson(config);
}

const REFUSED: [string, Record<string, unknown>, string][] = [
  ['no version', { ociVersion: undefined }, 'ociVersion: is required'],
  ['empty version', { ociVersion: '' }, 'ociVersion: "" is not a version such as "1.2.0"'],
  ['version 2', { ociVersion: '2.0.0' }, 'ociVersion: version 2.0.0 is not known, only 1.x is'],
  ['no root', { root: undefined }, 'root: is required'],
  ['no root path', { root: {} }, 'root.path: is required'],
  ['empty root path', { root: { path: '' } }, 'root.path: is empty'],
  ['root path a number', { root: { path: 1 } }, 'root.path: must be a string, not a number'],
  ['NUL in root path', { root: { path: 'a\0b' } }, 'root.path: contains a NUL character'],
  ['null for what is required', { root: null }, 'root: is required'],
  ['no process', { process: undefined }, 'process: is required'],
  ['no args', { 'process.args': undefined }, 'process.args: is required'],
  ['empty args', { 'process.args': [] }, 'process.args: is empty'],
  ['args a string', { 'process.args': 'sh' }, 'process.args: must be an array, not a string'],
  ['args of null', { 'process.args': [null] }, 'process.args[0]: must be a string, not null'],
  ['NUL in args', { 'process.args': ['sh\0x'] }, 'process.args[0]: contains a NUL character'],
  ['no cwd', { 'process.cwd': undefined }, 'process.cwd: is required'],
  ['relative cwd', { 'process.cwd': 'a' }, 'process.cwd: "a" is not an absolute path'],
  ['env without value', { 'process.env': ['A=b', 'FOO'] }, 'process.env[1]: "FOO" has no "="'],
  [
    'env without name',
    { 'process.env': ['A=b', '=c'] },
    'process.env[1]: "=c" has no name before "="',
  ],
  [
    'uid beyond 32 bits',
    { 'process.user.uid': 4294967296 },
    'process.user.uid: 4294967296 is not between 0 and 4294967294',
  ],
  [
    'uid that the kernel takes for "unchanged"',
    { 'process.user.uid': 4294967295 },
    'process.user.uid: 4294967295 is not between 0 and 4294967294',
  ],
  [
    'device of nobody',
    { 'linux.devices': [{ type: 'p', path: '/dev/x', gid: 4294967295 }] },
    'linux.devices[0].gid: 4294967295 is not between 0 and 4294967294',
  ],
  [
    'uid negative',
    { 'process.user.uid': -1 },
    'process.user.uid: -1 is not between 0 and 4294967294',
  ],
  [
    'uid beyond 2^53',
    { 'process.user.uid': 18446744073709551616n },
    'process.user.uid: 18446744073709551616 is not between 0 and 4294967294',
  ],
  [
    'uid a name',
    { 'process.user.uid': 'root' },
    'process.user.uid: must be an integer, not a string',
  ],
  ['uid a fraction', { 'process.user.uid': 1.5 }, 'process.user.uid: 1.5 is not an integer'],
  [
    'gid of a list',
    { 'process.user.additionalGids': [1, -2] },
    'process.user.additionalGids[1]: -2 is not between 0 and 4294967294',
  ],
  [
    'terminal a string',
    { 'process.terminal': 'true' },
    'process.terminal: must be true or false, not a string',
  ],
  ['user a list', { 'process.user': [] }, 'process.user: must be an object, not an array'],
  [
    'unknown capability',
    { 'process.capabilities.bounding': ['CAP_NET_ADMN'] },
    'process.capabilities.bounding[0]: unknown capability "CAP_NET_ADMN": use "CAP_NET_ADMIN" if that was meant',
  ],
  [
    'unknown rlimit',
    { 'process.rlimits': [{ type: 'RLIMIT_NOFILES', hard: 1, soft: 1 }] },
    'process.rlimits[0].type: unknown rlimit "RLIMIT_NOFILES": use "RLIMIT_NOFILE" if that was meant',
  ],
  [
    'rlimit without hard',
    { 'process.rlimits': [{ type: 'RLIMIT_NOFILE', soft: 1 }] },
    'process.rlimits[0].hard: is required',
  ],
  [
    'duplicate rlimit',
    {
      'process.rlimits': [
        { type: 'RLIMIT_CPU', hard: 1, soft: 1 },
        { type: 'RLIMIT_CPU', hard: 1, soft: 1 },
      ],
    },
    'process.rlimits[1].type: duplicate rlimit "RLIMIT_CPU"',
  ],
  [
    'soft above hard',
    { 'process.rlimits': [{ type: 'RLIMIT_CPU', hard: 1, soft: 2 }] },
    'process.rlimits[0].soft: 2 is above hard, 1',
  ],
  [
    'rlimit beyond 2^64',
    { 'process.rlimits': [{ type: 'RLIMIT_CPU', hard: 18446744073709551616n, soft: 2 }] },
    'process.rlimits[0].hard: 18446744073709551616 is not between 0 and 18446744073709551615',
  ],
  [
    'oomScoreAdj',
    { 'process.oomScoreAdj': 1001 },
    'process.oomScoreAdj: 1001 is not between -1000 and 1000',
  ],
  [
    'newline in a label',
    { 'process.selinuxLabel': 'a\nb' },
    'process.selinuxLabel: "a\\nb" contains a control character',
  ],
  [
    'scheduler policy',
    { 'process.scheduler': { policy: 'SCHED_FIFOO' } },
    'process.scheduler.policy: unknown scheduling policy "SCHED_FIFOO": use "SCHED_FIFO" if that was meant',
  ],
  [
    'scheduler priority',
    { 'process.scheduler': { policy: 'SCHED_BATCH', priority: 3 } },
    'process.scheduler.priority: is not for SCHED_BATCH, only SCHED_FIFO and SCHED_RR',
  ],
  [
    'I/O priority',
    { 'process.ioPriority': { class: 'IOPRIO_CLASS_BE', priority: 8 } },
    'process.ioPriority.priority: 8 is not between 0 and 7',
  ],
  [
    'unknown namespace',
    { 'linux.namespaces': [{ type: 'mount' }, { type: 'uts' }, { type: 'netwrk' }] },
    'linux.namespaces[2].type: unknown namespace "netwrk": use "network" if that was meant',
  ],
  [
    'no namespace at all',
    { 'linux.namespaces': [{ type: 'zzz' }] },
    'linux.namespaces[0].type: unknown namespace "zzz": use one of mount, pid, network, uts, ipc, user, cgroup, time',
  ],
  [
    'duplicate namespace',
    { 'linux.namespaces': [{ type: 'mount' }, { type: 'uts' }, { type: 'uts' }] },
    'linux.namespaces[2].type: duplicate namespace "uts"',
  ],
  [
    'relative namespace path',
    { 'linux.namespaces': [{ type: 'pid', path: 'proc' }] },
    'linux.namespaces[0].path: "proc" is not an absolute path',
  ],
  [
    'hostname without uts',
    { 'linux.namespaces': [{ type: 'mount' }] },
    'hostname: cannot be set without a uts namespace: add {"type": "uts"} to linux.namespaces',
  ],
  [
    'masked paths without mount',
    { hostname: undefined, 'linux.namespaces': [] },
    'linux.maskedPaths: cannot be set without a mount namespace: add {"type": "mount"} to linux.namespaces',
  ],
  [
    'mappings without user',
    { 'linux.uidMappings': [{ containerID: 0, hostID: 0, size: 1 }] },
    'linux.uidMappings: cannot be set without a user namespace: add {"type": "user"} to linux.namespaces',
  ],
  [
    'mapping of nothing',
    { 'linux.uidMappings': [{ containerID: 0, hostID: 0, size: 0 }] },
    'linux.uidMappings[0].size: 0 is not between 1 and 4294967295',
  ],
  [
    'mount without destination',
    { mounts: [{ type: 'tmpfs' }] },
    'mounts[0].destination: is required',
  ],
  [
    'unknown tmpfs option',
    { mounts: [{ destination: '/x', type: 'tmpfs', options: ['ro', 'sise=1k'] }] },
    'mounts[0].options[1]: unknown mount option "sise=1k" for tmpfs: use "size" if that was meant',
  ],
  [
    'unknown bind option',
    { mounts: [{ destination: '/x', source: '/', options: ['rbind', 'noexek'] }] },
    'mounts[0].options[1]: unknown mount option "noexek" for a bind mount: use "noexec" if that was meant',
  ],
  [
    'half an id mapping',
    {
      mounts: [
        {
          destination: '/x',
          source: '/',
          options: ['bind'],
          uidMappings: [{ containerID: 0, hostID: 1, size: 1 }],
        },
      ],
    },
    'mounts[0].gidMappings: is required where the other mapping is given',
  ],
  [
    'tmpcopyup elsewhere',
    { mounts: [{ destination: '/x', type: 'proc', options: ['tmpcopyup'] }] },
    'mounts[0].options: tmpcopyup is only for tmpfs',
  ],
  [
    'relative hook',
    { hooks: { prestart: [{ path: 'a' }] } },
    'hooks.prestart[0].path: "a" is not an absolute path',
  ],
  [
    'hook timeout',
    { hooks: { poststop: [{ path: '/a', timeout: 0 }] } },
    'hooks.poststop[0].timeout: 0 is not between 1 and 2147483647',
  ],
  [
    'annotation a number',
    { annotations: { a: 1 } },
    'annotations.a: must be a string, not a number',
  ],
  [
    'device without major',
    { 'linux.devices': [{ type: 'c', path: '/dev/x', minor: 1 }] },
    'linux.devices[0].major: is required for type "c"',
  ],
  [
    'device type',
    { 'linux.devices': [{ type: 'x', path: '/dev/x' }] },
    'linux.devices[0].type: unknown device type "x": use one of c, b, u, p',
  ],
  [
    'device rule type',
    { 'linux.resources.devices': [{ allow: true, type: 'd' }] },
    'linux.resources.devices[0].type: unknown device type "d", known are "a", "b" and "c"',
  ],
  [
    'device rule access',
    { 'linux.resources.devices': [{ allow: true, access: 'rx' }] },
    'linux.resources.devices[0].access: "rx" is not made of "r", "w" and "m"',
  ],
  [
    'device rule for all with a number',
    { 'linux.resources.devices': [{ allow: true, major: 1 }] },
    'linux.resources.devices[0].type: must be "b" or "c" where a device number is given',
  ],
  [
    'memory limit beyond 2^63',
    { 'linux.resources.memory': { limit: 9223372036854775808n } },
    'linux.resources.memory.limit: 9223372036854775808 is not between -9223372036854775808 and 9223372036854775807',
  ],
  [
    'memory limit negative',
    { 'linux.resources.memory': { limit: -2 } },
    'linux.resources.memory.limit: -2 is negative, only -1 (unlimited) may be',
  ],
  [
    'swappiness',
    { 'linux.resources.memory': { swappiness: 101 } },
    'linux.resources.memory.swappiness: 101 is not between 0 and 100',
  ],
  [
    'cpus',
    { 'linux.resources.cpu': { cpus: '0-1;rm' } },
    'linux.resources.cpu.cpus: "0-1;rm" is not a list such as "0-3,7"',
  ],
  [
    'weight',
    { 'linux.resources.blockIO': { weight: 5 } },
    'linux.resources.blockIO.weight: 5 is not between 10 and 1000',
  ],
  [
    'page size',
    { 'linux.resources.hugepageLimits': [{ pageSize: '2mb', limit: 1 }] },
    'linux.resources.hugepageLimits[0].pageSize: "2mb" is not a size such as "2MB"',
  ],
  [
    'unified path',
    { 'linux.resources.unified': { '../x': '1' } },
    'linux.resources.unified["../x"]: the key "../x" is not the name of a cgroup file',
  ],
  [
    'interface name',
    { 'linux.resources.network': { priorities: [{ name: 'a b', priority: 1 }] } },
    'linux.resources.network.priorities[0].name: "a b" is not a network device name (15 bytes, no "/", ":" or space)',
  ],
  [
    'sysctl of the host',
    { 'linux.sysctl': { 'kernel.core_pattern': '|x' } },
    'linux.sysctl["kernel.core_pattern"]: is not of a namespace: setting it would change the host',
  ],
  [
    'sysctl with ..',
    { 'linux.sysctl': { 'net/../kernel/core_pattern': '|x' } },
    'linux.sysctl["net/../kernel/core_pattern"]: the key "net/../kernel/core_pattern" is not a sysctl name',
  ],
  [
    'sysctl with newline',
    { 'linux.sysctl': { 'net.ipv4.ip_forward': '1\n2' } },
    'linux.sysctl["net.ipv4.ip_forward"]: "1\\n2" contains a control character',
  ],
  [
    'sysctl without namespace',
    {
      'linux.sysctl': { 'net.ipv4.ip_forward': '1' },
      'linux.namespaces': [{ type: 'mount' }, { type: 'uts' }],
    },
    'linux.sysctl["net.ipv4.ip_forward"]: cannot be set without a network namespace: add {"type": "network"} to linux.namespaces',
  ],
  [
    'sysctl hostname',
    { 'linux.sysctl': { 'kernel.hostname': 'x' } },
    'linux.sysctl["kernel.hostname"]: is set by hostname: use the property hostname instead',
  ],
  [
    'relative masked path',
    { 'linux.maskedPaths': ['proc'] },
    'linux.maskedPaths[0]: "proc" is not an absolute path',
  ],
  [
    'propagation',
    { 'linux.rootfsPropagation': 'shred' },
    'linux.rootfsPropagation: unknown mount propagation "shred": use "shared" if that was meant',
  ],
  [
    'seccomp action',
    { 'linux.seccomp': { defaultAction: 'SCMP_ACT_DENY' } },
    'linux.seccomp.defaultAction: unknown seccomp action "SCMP_ACT_DENY": use one of SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, SCMP_ACT_TRAP, SCMP_ACT_ERRNO, SCMP_ACT_TRACE, SCMP_ACT_ALLOW, SCMP_ACT_LOG, SCMP_ACT_NOTIFY',
  ],
  [
    'seccomp architecture',
    { 'linux.seccomp': { defaultAction: 'SCMP_ACT_ALLOW', architectures: ['SCMP_ARCH_X64'] } },
    'linux.seccomp.architectures[0]: unknown seccomp architecture "SCMP_ARCH_X64": use "SCMP_ARCH_X86" if that was meant',
  ],
  [
    'seccomp operator',
    {
      'linux.seccomp': {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [
          { names: ['a'], action: 'SCMP_ACT_ERRNO', args: [{ index: 0, value: 1, op: 'EQ' }] },
        ],
      },
    },
    'linux.seccomp.syscalls[0].args[0].op: unknown seccomp operator "EQ": use one of SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ',
  ],
  [
    'seccomp argument',
    {
      'linux.seccomp': {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [
          {
            names: ['a'],
            action: 'SCMP_ACT_ERRNO',
            args: [{ index: 6, value: 1, op: 'SCMP_CMP_EQ' }],
          },
        ],
      },
    },
    'linux.seccomp.syscalls[0].args[0].index: 6 is not between 0 and 5',
  ],
  [
    'seccomp flag',
    { 'linux.seccomp': { defaultAction: 'SCMP_ACT_ALLOW', flags: ['TSYNC'] } },
    'linux.seccomp.flags[0]: unknown seccomp flag "TSYNC": use one of SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV',
  ],
  [
    'seccomp errno',
    { 'linux.seccomp': { defaultAction: 'SCMP_ACT_ALLOW', defaultErrnoRet: 1 } },
    'linux.seccomp.defaultErrnoRet: cannot be used with SCMP_ACT_ALLOW',
  ],
  [
    'seccomp notify',
    {
      'linux.seccomp': {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['mkdir'], action: 'SCMP_ACT_NOTIFY' }],
      },
    },
    'linux.seccomp.listenerPath: is required for SCMP_ACT_NOTIFY (syscalls[0])',
  ],
  [
    'time offsets',
    { 'linux.timeOffsets': { boottime: { secs: 1 } } },
    'linux.timeOffsets: cannot be set without a time namespace: add {"type": "time"} to linux.namespaces',
  ],
  [
    'personality flags',
    { 'linux.personality': { domain: 'LINUX', flags: ['X'] } },
    'linux.personality.flags: the spec defines no flags',
  ],
  [
    'memory policy',
    { 'linux.memoryPolicy': { mode: 'MPOL_BIN' } },
    'linux.memoryPolicy.mode: unknown memory policy "MPOL_BIN": use "MPOL_BIND" if that was meant',
  ],
];

for (const [what, changes, problem] of REFUSED) {
  test(`parseSpec: ${what}`, () => {
    let thrown: unknown;
    try {
      parseSpec(configWith(changes));
    } catch (error) {
      thrown = error;
    }
    assert.ok(thrown instanceof TsError, 'it was accepted');
    assert.equal(thrown.text, `config.json: ${problem}`);
    assert.equal(thrown.kind, 'InvalidArgument');
    assert.equal(thrown.code, 'TS_SPEC_INVALID');
    assert.ok(problem.startsWith(String(thrown.fields['property'])));
  });
}

test('parseSpec: an integer with an exponent beyond 2^53 is refused, not rounded', () => {
  const text = configWith({}).replace('"resources":{', '"resources":{"memory":{"limit":1e17},');
  assert.throws(() => parseSpec(text), {
    message: 'config.json: linux.resources.memory.limit: 100000000000000000 is not an integer',
  });
});

test('parseSpec: what spec writes comes back as it is', () => {
  for (const spec of [defaultSpec(true), defaultSpec(false), rootlessSpec(1000, 1001, true)]) {
    assert.deepEqual(parseSpec(formatJson(spec)), spec);
  }
});

test('parseSpec: limits beyond 2^53 are exact', () => {
  const spec = parseSpec(
    configWith({
      'linux.resources.memory': { limit: 9223372036854775807n, swap: -1 },
      'process.rlimits': [{ type: 'RLIMIT_CORE', hard: 18446744073709551615n, soft: 0 }],
    }),
  );
  assert.deepEqual(spec.linux?.resources?.memory, { limit: 9223372036854775807n, swap: -1n });
  assert.deepEqual(spec.process.rlimits?.[0]?.hard, 18446744073709551615n);
});

test('parseSpec: unknown properties, null and empty optional texts count as absent', () => {
  const spec = parseSpec(
    configWith({
      'com.example.future': { a: 1 },
      vm: { hypervisor: {} },
      windows: null,
      domainname: '',
      'process.apparmorProfile': '',
      'process.capabilities': null,
      'linux.cgroupsPath': '',
      'linux.future': true,
      'linux.namespaces': [{ type: 'mount', path: '' }, { type: 'uts' }],
    }),
  );
  assert.equal('vm' in spec, false);
  assert.equal('domainname' in spec, false);
  assert.equal('capabilities' in spec.process, false);
  assert.equal('apparmorProfile' in spec.process, false);
  assert.deepEqual(spec.linux?.namespaces, [{ type: 'mount' }, { type: 'uts' }]);
  assert.equal('cgroupsPath' in (spec.linux ?? {}), false);
});

test('parseSpec: absent ids are root', () => {
  assert.deepEqual(parseSpec(configWith({ 'process.user': undefined })).process.user, {
    uid: 0,
    gid: 0,
  });
  const { user } = parseSpec(configWith({ 'process.user': { uid: 5 } })).process;
  assert.deepEqual(user, { uid: 5, gid: 0 });
});

test('parseSpec: a key __proto__ is a key, not a prototype', () => {
  const text = configWith({}).replace(/^\{/, '{"annotations":{"__proto__":"x","a":"y"},');
  const { annotations } = parseSpec(text);
  assert.deepEqual(Object.keys(annotations ?? {}), ['__proto__', 'a']);
  assert.deepEqual(Object.values(annotations ?? {}), ['x', 'y']);
  assert.equal(annotations?.['toString'], undefined);
});

test('parseSpec: what engines write is accepted', () => {
  const spec = parseSpec(
    configWith({
      ociVersion: '1.0.2-dev',
      'linux.sysctl': {
        'net.ipv4.ip_unprivileged_port_start': '0',
        'net/ipv4/conf/eth0.1/rp_filter': '2',
      },
      'linux.devices': [{ type: 'c', path: '/dev/fuse', major: 10, minor: 229, fileMode: 8630 }],
      'linux.resources.devices': [
        { allow: false, access: 'rwm' },
        { allow: true, type: 'c', major: 136, minor: -1, access: 'rwm' },
      ],
      mounts: [
        { destination: 'proc', type: 'proc', source: 'proc' },
        {
          destination: '/v',
          type: 'bind',
          source: '/v',
          options: ['rbind', 'rprivate', 'rro', 'ro'],
        },
        { destination: '/o', type: 'overlay', source: 'o', options: ['lowerdir=/a:/b', 'x-any'] },
      ],
    }),
  );
  assert.equal(spec.mounts?.length, 3);
});

test('parseProcess and parseResources: errors name the property within their document', () => {
  assert.throws(() => parseProcess('{"args": ["a"], "cwd": "x"}'), {
    message: 'process.json: cwd: "x" is not an absolute path',
  });
  assert.throws(() => parseResources('{"memory": {"swappiness": 101}}'), {
    message: 'resources: memory.swappiness: 101 is not between 0 and 100',
  });
  assert.throws(() => parseResources('[]'), {
    message: 'resources: must be an object, not an array',
  });
  assert.deepEqual(parseResources('{"pids": {"limit": 5}}'), { pids: { limit: 5n } });
});

test('refuseProperties: the first property that is there is named, empty ones are not there', () => {
  const spec = parseSpec(
    configWith({
      'linux.intelRdt': { closID: 'a' },
      'linux.netDevices': {},
      'process.scheduler': { policy: 'SCHED_BATCH' },
    }),
  );
  const properties = ['linux.netDevices', 'mounts[].uidMappings', 'linux.intelRdt.closID'];
  assert.throws(() => refuseProperties(spec, properties), {
    kind: 'NotImplemented',
    code: 'TS_SPEC_UNSUPPORTED',
    message: 'config.json: linux.intelRdt.closID: is not supported by this runtime',
  });
  refuseProperties(spec, ['linux.netDevices', 'mounts[].uidMappings', 'linux.personality']);
});

test('parseSpec: what is of other platforms may be anything', () => {
  const text = JSON.stringify({
    ociVersion: '1.3.0',
    root: { path: 'rootfs' },
    process: {
      args: ['x'],
      cwd: '/',
      commandLine: 'x y',
      user: { uid: 0, gid: 0, username: 'me' },
    },
    solaris: { milestone: 'x' },
    windows: { layerFolders: ['C:\\x'], hyperv: {} },
    vm: { kernel: { path: '/vmlinux' } },
    zos: { namespaces: [{ type: 'pid' }] },
    freebsd: { jail: { vnet: 'new' } },
  });
  assert.deepEqual(parseSpec(Buffer.from(text)).process.args, ['x']);
});
