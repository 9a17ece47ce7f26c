import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type ContainerConfig, MountPropagation } from '../api/generated/runtime.v1.ts';
import type { Init } from '../api/init.ts';
import {
  at,
  directory,
  type Given,
  mountAt,
  resources,
  security,
  translate,
} from './spec-request.fixture.ts';

describe('the mounts of a container', () => {
  const volume = (change: Init<ContainerConfig['mounts'][number]>): Given => ({
    config: { mounts: [{ containerPath: '/v', hostPath: join(directory, 'volume'), ...change }] },
  });
  const mounts: readonly [
    name: string,
    change: Init<ContainerConfig['mounts'][number]>,
    options: string[],
  ][] = [
    ['private', {}, ['rbind', 'rprivate', 'rw']],
    ['read-only', { readonly: true }, ['rbind', 'rprivate', 'ro']],
    [
      'read-only with all below',
      { readonly: true, recursiveReadOnly: true },
      ['rbind', 'rprivate', 'rro'],
    ],
    [
      'from the host',
      { propagation: MountPropagation.PROPAGATION_HOST_TO_CONTAINER },
      ['rbind', 'rslave', 'rw'],
    ],
    [
      'both ways',
      { propagation: MountPropagation.PROPAGATION_BIDIRECTIONAL },
      ['rbind', 'rshared', 'rw'],
    ],
  ];
  for (const [name, change, options] of mounts) {
    it(`${name}`, () => {
      assert.deepEqual(mountAt(translate(volume(change)), '/v'), [
        { destination: '/v', type: 'bind', source: join(directory, 'volume'), options },
      ]);
    });
  }

  it('with ids mapped', () => {
    const ids = [{ hostId: 1000, containerId: 0, length: 10 }];
    const [mount] = mountAt(translate(volume({ uidMappings: ids, gidMappings: ids })), '/v') ?? [];
    assert.deepEqual(mount?.uidMappings, [{ containerID: 0, hostID: 1000, size: 10 }]);
    assert.deepEqual(mount?.gidMappings, mount?.uidMappings);
  });

  it('links of the host are followed now, and a missing directory is made', () => {
    const given = volume({ hostPath: join(directory, 'link/new') });
    assert.equal(mountAt(translate(given), '/v')?.[0]?.source, join(directory, 'volume/new'));
  });

  it('the root is as shared as its mounts must be', () => {
    const propagation = (value: MountPropagation) =>
      at(translate(volume({ propagation: value })), 'linux.rootfsPropagation');
    assert.deepEqual(
      [
        propagation(MountPropagation.PROPAGATION_PRIVATE),
        propagation(MountPropagation.PROPAGATION_HOST_TO_CONTAINER),
        propagation(MountPropagation.PROPAGATION_BIDIRECTIONAL),
      ],
      ['rprivate', 'rslave', 'rshared'],
    );
  });

  it('one of the request replaces a file of the pod, and none hides another', () => {
    const source = join(directory, 'volume');
    const spec = translate({
      config: {
        mounts: ['/a/b/c', '/etc/hosts', '/a', '/dev/shm'].map((containerPath) => ({
          containerPath,
          hostPath: source,
        })),
      },
    });
    assert.equal(mountAt(spec, '/etc/hosts')?.length, 1);
    assert.deepEqual(
      mountAt(spec, '/dev/shm')?.map((mount) => mount.source),
      [source],
    );
    const order = spec.mounts?.map(({ destination }) => destination) ?? [];
    assert.ok(order.indexOf('/a') < order.indexOf('/a/b/c'));
  });

  it('files of the pod are read-only in a read-only root, shared memory is not', () => {
    const spec = translate(security({ readonlyRootfs: true }));
    const mode = (path: string) => mountAt(spec, path)?.[0]?.options?.at(-1);
    assert.deepEqual(['/etc/hostname', '/etc/hosts', '/etc/resolv.conf', '/dev/shm'].map(mode), [
      'ro',
      'ro',
      'ro',
      'rw',
    ]);
  });

  it('/sys and cgroups can be written to by a privileged container only', () => {
    const mode = (privileged: boolean, path: string) =>
      mountAt(translate(security({ privileged })), path)?.[0]?.options?.filter((word) =>
        /^r[ow]$/.test(word),
      );
    assert.deepEqual(mode(false, '/sys'), ['ro']);
    assert.deepEqual(mode(false, '/sys/fs/cgroup'), ['ro']);
    assert.deepEqual(mode(true, '/sys'), ['rw']);
    assert.deepEqual(mode(true, '/sys/fs/cgroup'), ['rw']);
  });

  it('base_runtime_spec: what a request does not speak of stays', () => {
    const file = join(directory, 'base.json');
    writeFileSync(
      file,
      JSON.stringify({
        ociVersion: '1.2.0',
        root: { path: 'rootfs' },
        process: {
          user: { uid: 0, gid: 0 },
          cwd: '/',
          args: ['x'],
          env: ['BASE=1', 'A=base'],
          rlimits: [{ type: 'RLIMIT_NOFILE', hard: 10, soft: 5 }],
        },
        mounts: [
          { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['size=1m'] },
          { destination: '/extra', type: 'tmpfs', source: 'tmpfs' },
        ],
        hooks: { poststart: [{ path: '/bin/hook' }] },
        linux: { resources: { pids: { limit: 100 } } },
      }),
    );
    const spec = translate({
      runtime: { baseRuntimeSpec: file },
      ...resources({ cpuShares: 5n }),
    });
    assert.equal(spec.process.rlimits?.[0]?.hard, 10n);
    assert.ok(spec.process.env?.includes('BASE=1') && spec.process.env.includes('A=image'));
    assert.deepEqual(spec.process.args, ['/entry', 'default']);
    assert.deepEqual(mountAt(spec, '/dev')?.[0]?.options, ['size=1m']);
    assert.equal(mountAt(spec, '/extra')?.length, 1);
    assert.equal(spec.hooks?.poststart?.[0]?.path, '/bin/hook');
    assert.equal(spec.linux?.resources?.cpu?.shares, 5n);
    assert.equal(spec.linux?.resources?.pids?.limit, 100n);
    assert.throws(() => translate({ runtime: { baseRuntimeSpec: '/none' } }), {
      message: 'base_runtime_spec /none: ENOENT',
    });
  });
});
