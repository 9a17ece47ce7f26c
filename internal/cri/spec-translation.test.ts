// CRI request in, OCI spec out: a row for each field that a kubelet may set, with what comes of it.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  NamespaceMode,
  SecurityProfile_ProfileType as Profile,
} from '../api/generated/runtime.v1.ts';
import {
  at,
  env,
  type Given,
  HOST,
  IMAGE,
  type Row,
  resources,
  security,
  translate,
} from './spec-request.fixture.ts';

const PROCESS: readonly Row[] = [
  ['no command: the image’s', {}, 'process.args', ['/entry', 'default']],
  ['a command replaces both', { config: { command: ['/a', 'b'] } }, 'process.args', ['/a', 'b']],
  ['arguments replace the defaults', { config: { args: ['x'] } }, 'process.args', ['/entry', 'x']],
  ['both', { config: { command: ['/a'], args: ['x', 'y'] } }, 'process.args', ['/a', 'x', 'y']],
  [
    'environment: the last of a name counts',
    {
      config: {
        envs: [env('A', 'container'), env('C', 'x=y'), env('C', '')],
      },
    },
    'process.env',
    [
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'A=container',
      'B=image',
      'HOSTNAME=host',
      'C=',
    ],
  ],
  [
    'environment names like those of an object',
    {
      config: {
        envs: [env('__proto__', '1'), env('constructor', '2')],
      },
      plan: { image: { ...IMAGE, env: [] }, hostname: '' },
    },
    'process.env',
    [
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      '__proto__=1',
      'constructor=2',
    ],
  ],
  ['directory of the image', {}, 'process.cwd', '/work'],
  ['directory of its own', { config: { workingDir: '/own' } }, 'process.cwd', '/own'],
  ['no directory', { plan: { image: { ...IMAGE, workingDir: '' } } }, 'process.cwd', '/'],
  ['user', {}, 'process.user', { uid: 7, gid: 8, additionalGids: [8, 9] }],
  ['terminal', { config: { tty: true } }, 'process.terminal', true],
  ['no terminal', {}, 'process.terminal', false],
  ['no_new_privs', security({ noNewPrivs: true }), 'process.noNewPrivileges', true],
  ['privileges', security({}), 'process.noNewPrivileges', false],
  ['read-only root', security({ readonlyRootfs: true }), 'root.readonly', true],
  ['oom score', resources({ oomScoreAdj: 500n }), 'process.oomScoreAdj', 500],
  ['oom score below', resources({ oomScoreAdj: -997n }), 'process.oomScoreAdj', -997],
  [
    'oom score of a daemon that may not lower it',
    { ...resources({ oomScoreAdj: -997n }), settings: { restrictsOomScoreAdj: true } },
    'process.oomScoreAdj',
    -900,
  ],
];

const RESOURCES: readonly Row[] = [
  ['shares', resources({ cpuShares: 512n }), 'linux.resources.cpu', { shares: 512n }],
  [
    'quota and period',
    resources({ cpuQuota: 50_000n, cpuPeriod: 100_000n }),
    'linux.resources.cpu',
    { quota: 50_000n, period: 100_000n },
  ],
  ['no quota', resources({ cpuQuota: -1n }), 'linux.resources.cpu', { quota: -1n }],
  [
    'cpuset',
    resources({ cpusetCpus: '0-1', cpusetMems: '0' }),
    'linux.resources.cpu',
    { cpus: '0-1', mems: '0' },
  ],
  [
    'memory: swap is not for what does not fit',
    resources({ memoryLimitInBytes: 64n }),
    'linux.resources.memory',
    { limit: 64n, swap: 64n },
  ],
  [
    'memory and swap',
    resources({ memoryLimitInBytes: 64n, memorySwapLimitInBytes: 128n }),
    'linux.resources.memory',
    { limit: 64n, swap: 128n },
  ],
  [
    'memory where swap is not counted',
    { ...resources({ memoryLimitInBytes: 64n }), host: { hasSwapController: false } },
    'linux.resources.memory',
    { limit: 64n },
  ],
  [
    'a limit beyond 2^53',
    resources({ memoryLimitInBytes: 9007199254740993n }),
    'linux.resources.memory.limit',
    9007199254740993n,
  ],
  [
    'hugepages',
    resources({ hugepageLimits: [{ pageSize: '2MB', limit: 4n }] }),
    'linux.resources.hugepageLimits',
    [{ pageSize: '2MB', limit: 4n }],
  ],
  [
    'hugepages where there is no controller',
    {
      ...resources({ hugepageLimits: [{ pageSize: '2MB', limit: 4n }] }),
      host: { hasHugetlbController: false },
    },
    'linux.resources.hugepageLimits',
    undefined,
  ],
  [
    'unified',
    resources({ unified: [['memory.high', '1000']] }),
    'linux.resources.unified',
    { 'memory.high': '1000' },
  ],
  ['nothing', resources({}), 'linux.resources.cpu', undefined],
  [
    'cgroups are off',
    { ...resources({ cpuShares: 2n }), settings: { disablesCgroup: true } },
    'linux.resources.cpu',
    undefined,
  ],
  ['cgroup without a parent', {}, 'linux.cgroupsPath', '/k8s.io/container'],
  [
    'cgroup below the pod’s',
    { pod: { linux: { cgroupParent: '/kubepods/burstable/podu-1' } } },
    'linux.cgroupsPath',
    '/kubepods/burstable/podu-1/container',
  ],
  [
    'cgroup of systemd',
    {
      pod: { linux: { cgroupParent: '/kubepods.slice/kubepods-podu.slice' } },
      plan: { isSystemdCgroup: true },
    },
    'linux.cgroupsPath',
    'kubepods-podu.slice:cri-containerd:container',
  ],
];

const DENY = { allow: false, access: 'rwm' };
const DEVICES: readonly Row[] = [
  ['no devices', {}, 'linux.resources.devices', [DENY]],
  [
    'a device with its rule',
    {
      config: {
        devices: [{ hostPath: '/dev/null', containerPath: '/dev/my-null', permissions: 'r' }],
      },
    },
    'linux.resources.devices',
    [DENY, { allow: true, type: 'c', major: 1, minor: 3, access: 'r' }],
  ],
  [
    'privileged: all',
    security({ privileged: true }),
    'linux.resources.devices',
    [{ allow: true, access: 'rwm' }],
  ],
  [
    'privileged without the host’s',
    { ...security({ privileged: true }), runtime: { privilegedWithoutHostDevices: true } },
    'linux.resources.devices',
    [DENY],
  ],
  [
    'privileged without the host’s, with all that it makes',
    {
      ...security({ privileged: true }),
      runtime: { privilegedWithoutHostDevices: true, privilegedAllowsAllDevices: true },
    },
    'linux.resources.devices',
    [{ allow: true, access: 'rwm' }],
  ],
  [
    'privileged without the host’s: no nodes',
    { ...security({ privileged: true }), runtime: { privilegedWithoutHostDevices: true } },
    'linux.devices',
    [],
  ],
];

const PRIVILEGES: readonly Row[] = [
  [
    'capabilities: added and dropped',
    security({
      capabilities: {
        addCapabilities: ['net_admin'],
        dropCapabilities: ['ALL'],
        addAmbientCapabilities: [],
      },
    }),
    'process.capabilities',
    {
      bounding: ['CAP_NET_ADMIN'],
      effective: ['CAP_NET_ADMIN'],
      permitted: ['CAP_NET_ADMIN'],
    },
  ],
  [
    'ambient capabilities are inheritable',
    security({
      capabilities: {
        addCapabilities: [],
        dropCapabilities: ['ALL'],
        addAmbientCapabilities: ['CAP_KILL'],
      },
    }),
    'process.capabilities.inheritable',
    ['CAP_KILL'],
  ],
  ['nothing inheritable', security({}), 'process.capabilities.inheritable', undefined],
  [
    'privileged: what the daemon has',
    security({ privileged: true }),
    'process.capabilities.bounding',
    HOST.capabilities,
  ],
  ['seccomp: none unless set', security({}), 'linux.seccomp', undefined],
  [
    'seccomp: unconfined',
    security({ seccomp: { profileType: Profile.Unconfined, localhostRef: '' } }),
    'linux.seccomp',
    undefined,
  ],
  [
    'seccomp: the default',
    security({ seccomp: { profileType: Profile.RuntimeDefault, localhostRef: '' } }),
    'linux.seccomp.defaultAction',
    'SCMP_ACT_ERRNO',
  ],
  [
    'seccomp: the default of the configuration',
    { ...security({}), settings: { unsetSeccompProfile: 'runtime/default' } },
    'linux.seccomp.defaultAction',
    'SCMP_ACT_ERRNO',
  ],
  [
    'seccomp: none for a privileged one',
    security({
      privileged: true,
      seccomp: { profileType: Profile.RuntimeDefault, localhostRef: '' },
    }),
    'linux.seccomp',
    undefined,
  ],
  ['paths: privileged', security({ privileged: true }), 'linux.maskedPaths', []],
  ['paths: privileged, read-only', security({ privileged: true }), 'linux.readonlyPaths', []],
  [
    'paths of the request',
    security({ maskedPaths: ['/a'], readonlyPaths: ['/b'] }),
    'linux.maskedPaths',
    ['/a'],
  ],
  [
    'paths of the request, read-only',
    security({ maskedPaths: ['/a'], readonlyPaths: ['/b'] }),
    'linux.readonlyPaths',
    ['/b'],
  ],
];

const pidMode = (pid: NamespaceMode): Given =>
  security({ namespaceOptions: { pid, network: NamespaceMode.POD } });
const JOINED = ['ipc', 'uts'].map((type) => ({ type, path: `/proc/42/ns/${type}` }));
const NETWORK = { type: 'network', path: '/run/netns/n' };
const CGROUP = { type: 'cgroup' };
const NAMESPACES: readonly Row[] = [
  [
    'the pod’s',
    pidMode(NamespaceMode.POD),
    'linux.namespaces',
    [{ type: 'mount' }, { type: 'pid', path: '/proc/42/ns/pid' }, ...JOINED, NETWORK, CGROUP],
  ],
  [
    'a pid namespace of its own',
    pidMode(NamespaceMode.CONTAINER),
    'linux.namespaces',
    [{ type: 'mount' }, { type: 'pid' }, ...JOINED, NETWORK, CGROUP],
  ],
  [
    'the host’s pids',
    pidMode(NamespaceMode.NODE),
    'linux.namespaces',
    [{ type: 'mount' }, ...JOINED, NETWORK, CGROUP],
  ],
  [
    'another container’s pids',
    { ...pidMode(NamespaceMode.TARGET), plan: { targetPid: 77 } },
    'linux.namespaces.1',
    { type: 'pid', path: '/proc/77/ns/pid' },
  ],
];

const ANNOTATED = [
  ['io.kata/a', '1'],
  ['io.kata/a.b/c', '2'],
  ['run.oci/x', '3'],
  ['org.systemd.property.CollectMode', '"x"'],
] as const;
const OWN = {
  'io.kubernetes.cri.container-type': 'container',
  'io.kubernetes.cri.sandbox-id': 'pod',
  'io.kubernetes.cri.sandbox-namespace': 'default',
  'io.kubernetes.cri.sandbox-name': 'web',
  'io.kubernetes.cri.sandbox-uid': 'u-1',
  'io.kubernetes.cri.container-name': 'main',
  'io.kubernetes.cri.image-name': 'example.test/a:1',
};
const ANNOTATIONS: readonly Row[] = [
  [
    'none is passed on',
    { pod: { annotations: ANNOTATED }, config: { annotations: ANNOTATED } },
    'annotations',
    OWN,
  ],
  [
    'those of pods that a glob names',
    { pod: { annotations: ANNOTATED }, runtime: { podAnnotations: ['io.kata/*'] } },
    'annotations',
    { ...OWN, 'io.kata/a': '1' },
  ],
  [
    'those of containers that a glob names',
    { config: { annotations: ANNOTATED }, runtime: { containerAnnotations: ['run.oci/?'] } },
    'annotations',
    { ...OWN, 'run.oci/x': '3' },
  ],
  [
    'none replaces our own',
    {
      pod: { annotations: [['io.kubernetes.cri.sandbox-id', 'other']] },
      runtime: { podAnnotations: ['*', 'io.kubernetes.cri.*'] },
    },
    'annotations',
    OWN,
  ],
];

const TABLES = { PROCESS, RESOURCES, DEVICES, PRIVILEGES, NAMESPACES, ANNOTATIONS };

for (const [table, rows] of Object.entries(TABLES)) {
  describe(`the spec of a container: ${table.toLowerCase()}`, () => {
    for (const [name, given, path, expected] of rows) {
      it(name, () => assert.deepEqual(at(translate(given), path), expected));
    }
  });
}
