// Keys of the configuration that decide what comes of a request: each with what it changes.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DEFAULT_MASKED_PATHS, DEFAULT_READONLY_PATHS } from '../oci/index.ts';
import type { CriConfig, RuntimeHandlerConfig } from './cri-config.ts';
import {
  at,
  type Given,
  mountAt,
  resources,
  security,
  translate,
  translatePod,
} from './spec-request.fixture.ts';

/** A key, what it is set to, a request, where to look, and what is there without the key and with it. */
type Row = readonly [
  key: string,
  settings: Partial<CriConfig>,
  given: Given,
  path: string,
  without: unknown,
  withKey: unknown,
];

const LIMITS = [{ pageSize: '2MB', limit: 4n }];
const NULL_DEVICE: Given = {
  config: {
    devices: [{ hostPath: '/dev/null', containerPath: '/dev/n', permissions: 'r' }],
    linux: { securityContext: { runAsUser: { value: 7n }, runAsGroup: { value: 8n } } },
  },
};
const DEVICE = { path: '/dev/n', type: 'c', major: 1, minor: 3, fileMode: 0o666 };

const rows: readonly Row[] = [
  [
    'disable_hugetlb_controller',
    { disablesHugetlbController: true },
    resources({ hugepageLimits: LIMITS }),
    'linux.resources.hugepageLimits',
    LIMITS,
    undefined,
  ],
  [
    'disable_proc_mount, masked paths',
    { disablesProcMount: true },
    security({ maskedPaths: ['/proc/a'] }),
    'linux.maskedPaths',
    ['/proc/a'],
    DEFAULT_MASKED_PATHS,
  ],
  [
    'disable_proc_mount, read-only paths',
    { disablesProcMount: true },
    security({ readonlyPaths: ['/proc/b'] }),
    'linux.readonlyPaths',
    ['/proc/b'],
    DEFAULT_READONLY_PATHS,
  ],
  [
    'device_ownership_from_security_context',
    { ownsDevicesByUser: true },
    NULL_DEVICE,
    'linux.devices',
    [{ ...DEVICE, uid: 0, gid: 0 }],
    [{ ...DEVICE, uid: 7, gid: 8 }],
  ],
  [
    'device_ownership_from_security_context, no user',
    { ownsDevicesByUser: true },
    { config: { devices: NULL_DEVICE.config?.devices ?? [] } },
    'linux.devices',
    [{ ...DEVICE, uid: 0, gid: 0 }],
    [{ ...DEVICE, uid: 0, gid: 0 }],
  ],
  [
    'restrict_oom_score_adj',
    { restrictsOomScoreAdj: true },
    resources({ oomScoreAdj: -997n }),
    'process.oomScoreAdj',
    -997,
    -900,
  ],
];

describe('a key of the configuration', () => {
  for (const [key, settings, given, path, without, withKey] of rows) {
    it(key, () => {
      assert.deepEqual(at(translate(given), path), without, 'without');
      assert.deepEqual(at(translate({ ...given, settings }), path), withKey, 'with');
    });
  }

  it('tolerate_missing_hugetlb_controller: not asked for what is not limited', () => {
    const host = { hasHugetlbController: false };
    const given = { ...resources({ hugepageLimits: LIMITS }), host };
    const strict = { toleratesMissingHugetlbController: false };
    assert.throws(() => translate({ ...given, settings: strict }), { kind: 'FailedPrecondition' });
    const settings = { ...strict, disablesHugetlbController: true };
    assert.equal(
      at(translate({ ...given, settings }), 'linux.resources.hugepageLimits'),
      undefined,
    );
  });

  it('enable_unprivileged_ports, enable_unprivileged_icmp', () => {
    const sysctls = (settings: Partial<CriConfig>) =>
      at(translatePod({ settings }), 'linux.sysctl');
    const port = { 'net.ipv4.ip_unprivileged_port_start': '0' };
    const ping = { 'net.ipv4.ping_group_range': '0 2147483647' };
    assert.deepEqual(sysctls({}), { ...port, ...ping });
    assert.deepEqual(sysctls({ enablesUnprivilegedPorts: false }), ping);
    assert.deepEqual(sysctls({ enablesUnprivilegedIcmp: false }), port);
  });

  it('disable_apparmor', () => {
    const profile = (disablesApparmor: boolean) =>
      at(
        translate({ host: { hasApparmor: true }, settings: { disablesApparmor } }),
        'process.apparmorProfile',
      );
    assert.equal(profile(false), 'cri-containerd.apparmor.d');
    assert.equal(profile(true), undefined);
  });

  it('unset_seccomp_profile', () => {
    const hasFilter = (unsetSeccompProfile: string) =>
      at(translate({ settings: { unsetSeccompProfile } }), 'linux.seccomp') !== undefined;
    assert.equal(hasFilter(''), false);
    assert.equal(hasFilter('runtime/default'), true);
  });

  const CLASSES: readonly [name: string, container: string, pod: string][] = [
    ['blockio', 'io.kubernetes.cri.blockio-class', 'blockio.resources.beta.kubernetes.io'],
    ['rdt', 'io.kubernetes.cri.rdt-class', 'rdt.resources.beta.kubernetes.io'],
  ];
  for (const [name, annotation, prefix] of CLASSES) {
    it(`ignore_${name}_not_enabled_errors: a class that is asked for is refused without it`, () => {
      const config = { metadata: { name: 'web', attempt: 0 } };
      const asked: Given[] = [
        { config: { ...config, annotations: [[annotation, 'fast']] } },
        { config, pod: { annotations: [[`${prefix}/container.web`, 'fast']] } },
        { config, pod: { annotations: [[`${prefix}/pod`, 'fast']] } },
      ];
      const ignored = {
        ignoresBlockioClasses: name === 'blockio',
        ignoresRdtClasses: name === 'rdt',
      };
      const other = {
        ignoresBlockioClasses: name === 'rdt',
        ignoresRdtClasses: name === 'blockio',
      };
      for (const given of asked) {
        assert.throws(() => translate({ ...given, settings: other }), {
          kind: 'FailedPrecondition',
          text:
            `${name} class "fast" of container web: there are no classes here: ` +
            `take the annotation away, or set ignore_${name}_not_enabled_errors`,
        });
        assert.ok(translate({ ...given, settings: ignored }));
      }
      const neighbour: Given['pod'] = { annotations: [[`${prefix}/container.db`, 'fast']] };
      assert.ok(translate({ config, pod: neighbour, settings: other }));
    });
  }

  it('cgroup_writable of a runtime, where cgroups are of version 2', () => {
    const mode = (runtime: Partial<RuntimeHandlerConfig>, cgroupVersion: 1 | 2) =>
      mountAt(translate({ runtime, host: { cgroupVersion } }), '/sys/fs/cgroup')?.[0]?.options?.at(
        -1,
      );
    assert.equal(mode({}, 2), 'ro');
    assert.equal(mode({ isCgroupWritable: true }, 2), 'rw');
    assert.equal(mode({ isCgroupWritable: true }, 1), 'ro');
  });

  it('privileged_without_host_devices, and …_all_devices_allowed', () => {
    const rule = (runtime: Partial<RuntimeHandlerConfig>) =>
      at(translate({ ...security({ privileged: true }), runtime }), 'linux.resources.devices.0');
    const alone = { privilegedWithoutHostDevices: true };
    assert.deepEqual(rule(alone), { allow: false, access: 'rwm' });
    assert.deepEqual(rule({ ...alone, privilegedAllowsAllDevices: true }), {
      allow: true,
      access: 'rwm',
    });
  });
});

describe('options of a mount', () => {
  const volume = (mountOptions: readonly string[]) =>
    translate({
      config: {
        mounts: [{ containerPath: '/v', hostPath: '/tmp', readonly: true, mountOptions }],
      },
    });
  it('are added to it', () => {
    assert.deepEqual(mountAt(volume(['noexec', 'nosuid']), '/v')?.[0]?.options, [
      ...['rbind', 'rprivate', 'ro', 'noexec', 'nosuid'],
    ]);
  });
  for (const option of ['rw', 'suid', 'idmap', 'lowerdir=/', '']) {
    it(`refuses ${JSON.stringify(option)}`, () => {
      assert.throws(() => volume([option]), {
        text:
          `mount "/v": mount option ${JSON.stringify(option)}: ` +
          'use noexec, nosuid, nodev, nosymfollow, noatime, nodiratime, relatime',
      });
    });
  }
});
