import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ContainerConfig } from '../api/generated/runtime.v1.ts';
import { OCI_VERSION, type Spec } from '../oci/index.ts';
import { cdiEdits, parseCdiFile, requestedCdiDevices } from './cdi-devices.ts';
import { withCdiEdits } from './cdi-edits.ts';

const SPEC: Spec = {
  ociVersion: OCI_VERSION,
  root: { path: 'rootfs' },
  process: {
    user: { uid: 1, gid: 1, additionalGids: [5] },
    args: ['a'],
    cwd: '/',
    env: ['A=1', 'B=2'],
  },
  mounts: [{ destination: '/old', type: 'bind', source: '/x' }],
  hooks: { poststop: [{ path: '/first' }] },
  linux: { resources: { devices: [{ allow: false, access: 'rwm' }] } },
};

const GPU = {
  cdiVersion: '1.0.0',
  kind: 'vendor.test/gpu',
  devices: [
    {
      name: '0',
      containerEdits: {
        env: ['B=gpu', 'GPU=0'],
        deviceNodes: [
          { path: '/dev/gpu0', hostPath: '/dev/null', permissions: 'rw', fileMode: 0o600, uid: 3 },
          { path: '/dev/other', type: 'b', major: 9, minor: 1 },
          { path: '/dev/pipe', type: 'p' },
        ],
        netDevices: [{ hostInterfaceName: 'gpunet0', name: 'net0' }],
      },
    },
    { name: '1', containerEdits: { deviceNodes: [{ path: '/dev/zero' }] } },
  ],
  containerEdits: {
    mounts: [
      {
        hostPath: '/usr/lib/gpu/deep',
        containerPath: '/usr/lib/gpu/deep',
        options: ['ro', 'rbind'],
      },
      { hostPath: '/usr/lib/gpu', containerPath: '/usr/lib/gpu' },
      { hostPath: '/y', containerPath: '/old' },
    ],
    hooks: [
      {
        hookName: 'createContainer',
        path: '/usr/bin/gpu-hook',
        args: ['gpu-hook', 'x'],
        timeout: 5,
      },
      { hookName: 'poststop', path: '/second' },
    ],
    additionalGids: [44, 0, 5],
    intelRdt: { closID: 'gpu' },
  },
};

describe('CDI devices', () => {
  let directory = '';
  const directories = (): string[] => [
    join(directory, 'etc'),
    join(directory, 'none'),
    join(directory, 'run'),
  ];
  const write = (where: string, name: string, value: unknown): void =>
    writeFileSync(
      join(directory, where, name),
      typeof value === 'string' ? value : JSON.stringify(value),
    );
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'cdi-'));
    for (const name of ['etc', 'run']) mkdirSync(join(directory, name));
    write('etc', 'gpu.json', GPU);
    write('etc', 'broken.json', '{');
    write('etc', 'notes.txt', 'not looked at');
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('add what their file says to a spec, the common part once', () => {
    const spec = withCdiEdits(
      SPEC,
      cdiEdits(['vendor.test/gpu=0', 'vendor.test/gpu=1'], directories()),
    );
    assert.deepEqual(spec.process.env, ['A=1', 'B=gpu', 'GPU=0']);
    assert.deepEqual(spec.process.user.additionalGids, [5, 44]);
    assert.deepEqual(
      spec.mounts?.map(({ destination, source }) => `${destination} ${source}`),
      ['/old /y', '/usr/lib/gpu /usr/lib/gpu', '/usr/lib/gpu/deep /usr/lib/gpu/deep'],
    );
    assert.deepEqual(spec.hooks, {
      createContainer: [{ path: '/usr/bin/gpu-hook', args: ['gpu-hook', 'x'], timeout: 5 }],
      poststop: [{ path: '/first' }, { path: '/second' }],
    });
    assert.deepEqual(spec.linux?.netDevices, { gpunet0: { name: 'net0' } });
    assert.deepEqual(spec.linux?.intelRdt, { closID: 'gpu' });
    assert.deepEqual(
      spec.linux?.devices?.map(({ path, type, major, minor }) => [path, type, major, minor]),
      [
        ['/dev/gpu0', 'c', 1, 3],
        ['/dev/other', 'b', 9, 1],
        ['/dev/pipe', 'p', undefined, 0],
        ['/dev/zero', 'c', 1, 5],
      ],
    );
    assert.deepEqual(
      [spec.linux?.devices?.[0]?.fileMode, spec.linux?.devices?.[0]?.uid],
      [0o600, 3],
    );
    assert.deepEqual(spec.linux?.resources?.devices, [
      { allow: false, access: 'rwm' },
      { allow: true, type: 'c', major: 1, minor: 3, access: 'rw' },
      { allow: true, type: 'b', major: 9, minor: 1, access: 'rwm' },
      { allow: true, type: 'c', major: 1, minor: 5, access: 'rwm' },
    ]);
  });

  it('none leaves a spec as it is', () => {
    assert.equal(withCdiEdits(SPEC, cdiEdits([], directories())), SPEC);
  });

  it('a later directory wins, two files of one directory conflict', () => {
    const other = (env: string) => ({
      cdiVersion: '0.8.0',
      kind: 'vendor.test/nic',
      devices: [{ name: 'x', containerEdits: { env: [env] } }],
    });
    write('etc', 'nic.json', other('FROM=etc'));
    write('run', 'nic.json', other('FROM=run'));
    const env = () =>
      withCdiEdits(SPEC, cdiEdits(['vendor.test/nic=x'], directories())).process.env;
    assert.deepEqual(env(), ['A=1', 'B=2', 'FROM=run']);
    write('run', 'nic2.json', other('FROM=run2'));
    assert.throws(env, {
      code: 'TS_CDI_CONFLICT',
      message: `CDI device vendor.test/nic=x: both in ${directory}/run/nic.json and in ${directory}/run/nic2.json`,
    });
  });

  it('a device that no file has is told with what is wrong in the files', () => {
    assert.throws(() => cdiEdits(['vendor.test/gpu=9'], directories()), {
      kind: 'NotFound',
      code: 'TS_CDI_NO_DEVICE',
      message: `CDI device vendor.test/gpu=9 in ${directories().join(', ')} (CDI file ${directory}/etc/broken.json: not JSON: Expected property name or '}' in JSON at position 1 (line 1 column 2))`,
    });
  });

  it('are those of the field and of annotations, each once', () => {
    const names = requestedCdiDevices(
      ContainerConfig.create({
        CDIDevices: [{ name: 'a.test/x=1' }],
        annotations: [
          ['cdi.k8s.io/plugin', 'a.test/x=1,b.test/y=all'],
          ['cdi.k8s.io.other', 'no'],
          ['other', 'c.test/z=1'],
        ],
      }),
    );
    assert.deepEqual(names, ['a.test/x=1', 'b.test/y=all']);
  });

  for (const name of [
    '',
    'x',
    'a/b',
    'a/b=',
    '=c',
    'a/b=c d',
    '../b=c',
    'a/../b=c',
    'a/b=../c',
    'a/b=c/d',
  ]) {
    it(`refuses the name ${JSON.stringify(name)}`, () => {
      const message = `CDI_devices: ${JSON.stringify(name)} is not VENDOR/CLASS=DEVICE`;
      assert.throws(() => requestedCdiDevices(ContainerConfig.create({ CDIDevices: [{ name }] })), {
        message,
      });
    });
  }

  const file = (edits: unknown, change: object = {}) => ({
    cdiVersion: '1.0.0',
    kind: 'a.test/x',
    devices: [{ name: '1', containerEdits: edits }],
    ...change,
  });
  const bad: readonly [value: unknown, message: string][] = [
    [[], 'not an object'],
    [file({}, { cdiVersion: 1 }), 'cdiVersion: 1'],
    [file({}, { kind: 'a' }), 'kind: "a"'],
    [file({}, { devices: [] }), 'devices: missing'],
    [file({}, { devices: [{ name: '/', containerEdits: {} }] }), 'devices[0].name: "/"'],
    [
      file(
        {},
        {
          devices: [
            { name: '1', containerEdits: {} },
            { name: '1', containerEdits: {} },
          ],
        },
      ),
      'devices[1].name: 1 is there twice',
    ],
    [file(undefined), 'devices[0].containerEdits: not an object'],
    [file({ env: ['=x'] }), 'devices[0].containerEdits.env: "=x"'],
    [file({ env: 'A=1' }), 'devices[0].containerEdits.env: not a list of strings'],
    [
      file({ deviceNodes: [{ path: 'x' }] }),
      'devices[0].containerEdits.deviceNodes[0].path: not absolute',
    ],
    [
      file({ deviceNodes: [{ path: '/x', type: 'z' }] }),
      'devices[0].containerEdits.deviceNodes[0].type: "z"',
    ],
    [
      file({ deviceNodes: [{ path: '/x', permissions: 'a' }] }),
      'devices[0].containerEdits.deviceNodes[0].permissions: "a"',
    ],
    [
      file({ deviceNodes: [{ path: '/x', uid: 4294967296 }] }),
      'devices[0].containerEdits.deviceNodes[0].uid: 4294967296',
    ],
    [
      file({ hooks: [{ hookName: 'never', path: '/x' }] }),
      'devices[0].containerEdits.hooks[0].hookName: "never"',
    ],
    [
      file({ hooks: [{ hookName: 'prestart', path: 'x' }] }),
      'devices[0].containerEdits.hooks[0].path: not absolute',
    ],
    [file({ additionalGids: [-1] }), 'devices[0].containerEdits.additionalGids[0].gid: -1'],
  ];
  for (const [value, message] of bad) {
    it(`refuses a file: ${message}`, () => {
      assert.throws(() => parseCdiFile(JSON.stringify(value), 'f.json'), {
        code: 'TS_CDI_FILE',
        message: `CDI file f.json: ${message}`,
      });
    });
  }
});
