import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseMountInfo } from '../linux/index.ts';
import { createMayHang, parseBundleConfig, readBundleConfig } from './bundle-config.ts';
import { MountTable } from './mount-table.ts';

const NOTHING = {
  hasOwnPidNamespace: false,
  rootfs: '/b/rootfs',
  sources: [],
  seccompAgent: undefined,
};

for (const [what, config, expected] of [
  ['nothing', undefined, {}],
  ['no object', 'text', {}],
  ['lists of nulls', { mounts: [null, 1], linux: { namespaces: [null] } }, {}],
  [
    'a new pid namespace',
    { linux: { namespaces: [{ type: 'pid' }] } },
    { hasOwnPidNamespace: true },
  ],
  ['one that is joined', { linux: { namespaces: [{ type: 'pid', path: '/proc/1/ns/pid' }] } }, {}],
  ['a root elsewhere', { root: { path: '/far/root' } }, { rootfs: '/far/root' }],
  ['a root below', { root: { path: 'x' } }, { rootfs: '/b/x' }],
  [
    'mounts of all kinds',
    {
      mounts: [
        { type: 'bind', source: '/one' },
        { type: 'none', source: 'two', options: ['ro', 'rbind'] },
        { type: 'tmpfs', source: 'tmpfs' },
        { type: 'rbind' },
      ],
    },
    { sources: ['/one', '/b/two'] },
  ],
  ['an agent', { linux: { seccomp: { listenerPath: '/agent' } } }, { seccompAgent: '/agent' }],
] as const) {
  test(`a bundle's config of ${what}`, () => {
    assert.deepEqual(parseBundleConfig(config, '/b'), { ...NOTHING, ...expected });
  });
}

test('a config.json that is a fifo is not waited for, one that is broken is the runtime’s', () => {
  const bundle = mkdtempSync(join(tmpdir(), 'bundle-config-'));
  const path = join(bundle, 'config.json');
  const nothing = { ...NOTHING, rootfs: join(bundle, 'rootfs') };
  assert.deepEqual(readBundleConfig(bundle), nothing);
  writeFileSync(path, '{');
  assert.deepEqual(readBundleConfig(bundle), nothing);
  rmSync(path);
  spawnSync('mkfifo', [path]);
  assert.equal(readBundleConfig(bundle), undefined);
  rmSync(bundle, { recursive: true });
});

test('a create may hang on its root, on a mount below it and on what is bound', () => {
  const mounts = new MountTable(
    parseMountInfo('1 0 8:1 / / rw - ext4 x rw\n2 1 0:9 / /far/away rw - nfs4 server:/ rw\n'),
  );
  const mayHang = (config: object) => createMayHang(parseBundleConfig(config, '/b'), mounts);
  assert.equal(mayHang({}), false);
  assert.equal(mayHang({ root: { path: '/far' } }), true);
  assert.equal(mayHang({ mounts: [{ type: 'bind', source: '/far' }] }), false);
  assert.equal(mayHang({ mounts: [{ type: 'bind', source: '/far/away/x' }] }), true);
});
