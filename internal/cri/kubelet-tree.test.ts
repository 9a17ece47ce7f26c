import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { driverContradiction } from './kubelet-tree.ts';

const ROWS: readonly (readonly [string, readonly string[], boolean, string | undefined])[] = [
  ['no kubelet, cgroupfs', [], false, undefined],
  ['no kubelet, systemd', [], true, undefined],
  ['both cgroupfs', ['pids/kubepods'], false, undefined],
  ['both systemd', ['pids/kubepods.slice'], true, undefined],
  ['a kubelet that was switched', ['pids/kubepods', 'pids/kubepods.slice'], false, undefined],
  [
    'kubelet systemd, runtime cgroupfs',
    ['pids/kubepods.slice'],
    false,
    'DIRECTORY/pids/kubepods.slice is of a kubelet with the systemd driver, but runtime "runc" uses the cgroupfs driver: ' +
      'set SystemdCgroup = true in the options of runtime "runc" in the daemon\'s configuration file, or ' +
      "cgroupDriver: cgroupfs in the kubelet's, /var/lib/kubelet/config.yaml",
  ],
  [
    'kubelet cgroupfs, runtime systemd',
    ['cpu/kubepods'],
    true,
    'DIRECTORY/cpu/kubepods is of a kubelet with the cgroupfs driver, but runtime "runc" uses the systemd driver: ' +
      'set SystemdCgroup = false in the options of runtime "runc" in the daemon\'s configuration file, or ' +
      "cgroupDriver: systemd in the kubelet's, /var/lib/kubelet/config.yaml",
  ],
];

for (const [name, cgroups, isSystemd, expected] of ROWS) {
  test(`driverContradiction: ${name}`, () => {
    const directory = mkdtempSync(join(tmpdir(), 'kubelet-tree-'));
    try {
      for (const path of cgroups) mkdirSync(join(directory, path), { recursive: true });
      const hierarchies = ['cpu', 'pids'].map((each) => join(directory, each));
      const found = driverContradiction(hierarchies, { name: 'runc', isSystemd });
      assert.equal(found?.text.replace(directory, 'DIRECTORY'), expected);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
}
