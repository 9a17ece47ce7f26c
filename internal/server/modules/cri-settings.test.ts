import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../config/index.ts';
import type { CriConfig } from '../../cri/cri-config.ts';
import { criSettings } from './cri-settings.ts';

function settings(...lines: string[]): { settings: CriConfig; warnings: readonly string[] } {
  const directory = mkdtempSync(join(tmpdir(), 'cri-settings-'));
  try {
    const file = join(directory, 'config.toml');
    writeFileSync(file, ['version = 3', ...lines].join('\n'));
    const { config, warnings } = loadConfig(file, true);
    return { settings: criSettings(config), warnings };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const RUNTIME = '[plugins."io.containerd.cri.v1.runtime"';
const IMAGES = '[plugins."io.containerd.cri.v1.images"';

test('criSettings: a runtime has networks of its own', () => {
  const { settings: made, warnings } = settings(
    `${RUNTIME}.cni]`,
    'max_conf_num = 3',
    'ip_pref = "ipv6"',
    `${RUNTIME}.containerd.runtimes.runc]`,
    'cni_conf_dir = "/etc/cni/runc.d"',
    `${RUNTIME}.containerd.runtimes.tsrunc]`,
    'cni_conf_dir = "/etc/cni/ts.d"',
    'cni_max_conf_num = 2',
  );
  assert.deepEqual(warnings, []);
  const networks = (name: string) => made.runtimes.get(name)?.networks;
  assert.deepEqual(networks('runc'), { confDir: '/etc/cni/runc.d', maxConfNum: 3 });
  assert.deepEqual(networks('tsrunc'), { confDir: '/etc/cni/ts.d', maxConfNum: 2 });
  assert.equal(made.cni.ipPreference, 'ipv6');
  const plain = settings().settings;
  assert.equal(plain.runtimes.get('runc')?.networks, undefined);
  assert.equal(plain.cni.ipPreference, 'ipv4');
});

test('criSettings: the snapshotter of a runtime is its own, else that of runtime_platforms', () => {
  const { settings: made, warnings } = settings(
    `${IMAGES}.runtime_platforms.runc]`,
    'snapshotter = "native"',
    `${IMAGES}.runtime_platforms.tsrunc]`,
    'snapshotter = "native"',
    'platform = "linux/riscv64"',
    `${RUNTIME}.containerd.runtimes.tsrunc]`,
    'snapshotter = "btrfs"',
  );
  assert.equal(made.runtimes.get('runc')?.snapshotter, 'native');
  assert.equal(made.runtimes.get('tsrunc')?.snapshotter, 'btrfs');
  assert.equal(warnings.length, 1);
  assert.match(
    warnings[0] ?? '',
    /runtime_platforms\.tsrunc\.platform has no effect in this version: images are those of the machine$/,
  );
});

test('criSettings: classes of block I/O and RDT are refused unless they are to be ignored', () => {
  const { ignoresBlockioClasses, ignoresRdtClasses } = settings(
    `${RUNTIME}.containerd]`,
    'ignore_rdt_not_enabled_errors = true',
  ).settings;
  assert.deepEqual([ignoresBlockioClasses, ignoresRdtClasses], [false, true]);
});
