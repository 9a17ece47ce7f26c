import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  type ContainerConfig,
  MountPropagation,
  NamespaceMode,
  SecurityProfile_ProfileType as Profile,
} from '../api/generated/runtime.v1.ts';
import type { Init } from '../api/init.ts';
import {
  directory,
  env,
  type Given,
  IMAGE,
  resources,
  security,
  translate,
} from './spec-request.fixture.ts';

describe('the spec of a container', () => {
  const volume = (change: Init<ContainerConfig['mounts'][number]>): Given => ({
    config: { mounts: [{ containerPath: '/v', hostPath: join(directory, 'volume'), ...change }] },
  });
  const refused: readonly [name: string, given: () => Given, message: string][] = [
    [
      'nothing to run',
      () => ({ plan: { image: { ...IMAGE, entrypoint: [''], cmd: [] } } }),
      'no command specified',
    ],
    [
      'NUL in the environment',
      () => ({ config: { envs: [env('A', 'b\0c')] } }),
      'envs "A": holds a NUL character',
    ],
    [
      'NUL in the directory',
      () => ({ config: { workingDir: '/a\0b' } }),
      'working_dir: holds a NUL character',
    ],
    [
      'a capability that is none',
      () =>
        security({
          capabilities: {
            addCapabilities: ['FLY'],
            dropCapabilities: [],
            addAmbientCapabilities: [],
          },
        }),
      'add_capabilities: unknown capability "FLY"',
    ],
    [
      'a mount without a place',
      () => volume({ containerPath: '' }),
      'mount "": container_path is empty',
    ],
    ['a mount of nothing', () => volume({ hostPath: '' }), 'mount "/v": host_path is empty'],
    [
      'read-only below what is not',
      () => volume({ recursiveReadOnly: true }),
      'mount "/v": recursive_read_only without readonly',
    ],
    [
      'read-only below what is shared',
      () =>
        volume({
          readonly: true,
          recursiveReadOnly: true,
          propagation: MountPropagation.PROPAGATION_BIDIRECTIONAL,
        }),
      'mount "/v": recursive_read_only needs private propagation',
    ],
    [
      'two mounts at one place',
      () => ({
        config: {
          mounts: ['/v', '/x/../v/'].map((containerPath) => ({
            containerPath,
            hostPath: join(directory, 'volume'),
          })),
        },
      }),
      'mount "/x/../v/": mounted twice',
    ],
    [
      'a device that is not there',
      () => ({
        config: { devices: [{ hostPath: '/dev/none', containerPath: '', permissions: '' }] },
      }),
      'device /dev/none: no such file',
    ],
    [
      'a device with rights that are none',
      () => ({
        config: { devices: [{ hostPath: '/dev/null', containerPath: '', permissions: 'rwx' }] },
      }),
      'device /dev/null: permissions "rwx"',
    ],
    [
      'hugepages that are not to be forgotten',
      () => ({
        ...resources({ hugepageLimits: [{ pageSize: '2MB', limit: 4n }] }),
        host: { hasHugetlbController: false },
        settings: { toleratesMissingHugetlbController: false },
      }),
      'hugepage_limits: this machine has no hugetlb controller',
    ],
    [
      'pids of a container that does not run',
      () => security({ namespaceOptions: { pid: NamespaceMode.TARGET, targetId: 'x' } }),
      'target container "x" is not running',
    ],
    [
      'a seccomp profile by a name',
      () => security({ seccomp: { profileType: Profile.Localhost, localhostRef: 'x' } }),
      'seccomp profile "x": not an absolute path',
    ],
    [
      'a cgroup of the other driver',
      () => ({ pod: { linux: { cgroupParent: '/kubepods.slice' } } }),
      'cgroup parent "/kubepods.slice" is of the systemd driver, but runtime "tsrunc" uses the cgroupfs driver',
    ],
    [
      'CDI where it is off',
      () => ({ config: { CDIDevices: [{ name: 'a.test/x=y' }] }, settings: { enablesCdi: false } }),
      'CDI device a.test/x=y: CDI is off',
    ],
  ];
  for (const [name, given, message] of refused) {
    it(`refuses ${name}`, () => {
      assert.throws(() => translate(given()), { message });
    });
  }
});
