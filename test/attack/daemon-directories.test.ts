// CVE-2021-41103, CVE-2024-25621: an unprivileged user of the machine who can walk into the daemon's directories runs the
// set-uid programs of images and reads the secrets of containers. Nothing below root or state may be reached, listed, read
// or connected to by anybody but root.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Snapshots } from '../../internal/api/generated/containerd.services.snapshots.v1.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';

const NOBODY = 65534;

/** Runs a shell script as an unprivileged user and returns what it printed. */
function asNobody(script: string): string {
  const result = spawnSync('/bin/sh', ['-c', script], {
    uid: NOBODY,
    gid: NOBODY,
    encoding: 'utf8',
  });
  assert.equal(result.error, undefined);
  return result.stdout.trim();
}

test('an unprivileged user reaches nothing of the daemon', {
  skip: skipWithout('tscontainerd'),
}, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'daemon-attack-'));
  chmodSync(directory, 0o755); // as open as /var/lib and /run are
  try {
    await using daemon = await TestDaemon.start('tscontainerd', { directory });
    using connection = new GrpcConnection(daemon.address, 'attack');
    // A snapshot with a set-uid program, as a layer of sudo would have it.
    const { mounts } = await connection
      .service(Snapshots)
      .prepare({ snapshotter: 'native', key: 'layer' });
    const source = mounts[0]?.source ?? '';
    assert.ok(source.startsWith(`${daemon.root}/`), source);
    assert.equal(spawnSync('install', ['-m', '4755', '/bin/true', join(source, 'suid')]).status, 0);
    chmodSync(source, 0o755);

    assert.equal(asNobody(`ls -d ${directory}/root`), `${directory}/root`, 'the attacker can look');
    assert.equal(asNobody(`${source}/suid && echo ran`), '');
    for (const path of [daemon.root, daemon.state]) {
      assert.equal(asNobody(`ls -A ${path}; cd ${path} && echo inside`), '');
      assert.equal(asNobody(`find ${path} -mindepth 1`), '');
    }
    for (const file of ['root/metadata.db', 'root/daemon.lock']) {
      assert.equal(asNobody(`head -c 1 ${directory}/${file} && echo read`), '');
    }
    for (const socket of [daemon.address, `${daemon.address}.ttrpc`]) {
      const script = `require('node:net').connect('${socket}').on('connect', () => console.log('connected')).on('error', (e) => console.log(e.code))`;
      const { stdout } = spawnSync(process.execPath, ['-e', script], {
        uid: NOBODY,
        gid: NOBODY,
        encoding: 'utf8',
      });
      assert.equal(stdout.trim(), 'EACCES');
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
