// The systemd cgroup driver under our shim, in both ways to the runtime: a task lives in a scope of the machine's systemd, which
// knows its limits, also those of an update; other tasks of the shim go on meanwhile.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { bundleSpec, optionsOf, PlayedDaemon, skipWithout } from '../fixtures/shim.ts';
import { layoutHere, machineOnly } from './machine.ts';

const SIGKILL = 9;
const MIB = 1 << 20;
const [LIMIT, RAISED] = [64 * MIB, 96 * MIB];
const PROPERTY = layoutHere() === 'v2' ? 'MemoryMax' : 'MemoryLimit';

function show(unit: string, property: string): string {
  const args = ['show', unit, `--property=${property}`, '--value'];
  const { stdout, stderr, status } = spawnSync('systemctl', args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout.trim();
}

for (const runtime of ['tsrunc', 'in-process'] as const) {
  test(`${runtime}: a task in a scope of systemd`, {
    skip: machineOnly() || skipWithout(runtime),
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const name = `${runtime}-${process.pid}`;
    const unit = `shim-test-${name}.scope`;
    const { linux } = bundleSpec('c1', []) as { linux: object };
    const cgroupsPath = `system.slice:shim-test:${name}`;
    const resources = { memory: { limit: LIMIT } };
    const spec = { linux: { ...linux, cgroupsPath, resources } };
    const shim = await daemon.shim(['/bin/sleep', '1000'], { runtime }, spec);
    const root = `${daemon.directory}/runtime`;
    const pid = await shim.create({}, optionsOf(runtime, { root, systemdCgroup: true }));
    assert.ok(readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`/system.slice/${unit}\n`));
    assert.equal(show(unit, PROPERTY), String(LIMIT));
    await shim.start();
    await shim.exec('e1', ['/bin/sh', '-c', 'cat /proc/self/cgroup >/dev/null; exit 5']);
    assert.equal(await shim.wait('e1'), 5);
    const typeUrl = 'types.containerd.io/opencontainers/runtime-spec/1/LinuxResources';
    const value = Buffer.from(JSON.stringify({ memory: { limit: RAISED } }));
    await shim.task.update({ id: 'c1', resources: { typeUrl, value } });
    assert.equal(show(unit, PROPERTY), String(RAISED));
    await shim.task.pause({ id: 'c1' });
    await shim.task.resume({ id: 'c1' });
    await shim.task.kill({ id: 'c1', signal: SIGKILL });
    assert.equal(await shim.wait(), 128 + SIGKILL);
    await shim.finish();
    assert.equal(show(unit, 'LoadState'), 'not-found');
  });

  test(`${runtime}: a unit that is in use fails a create, and leaves nothing`, {
    skip: machineOnly() || skipWithout(runtime),
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const name = `twice-${runtime}-${process.pid}`;
    const { linux } = bundleSpec('c1', []) as { linux: object };
    const spec = { linux: { ...linux, cgroupsPath: `system.slice:shim-test:${name}` } };
    const root = `${daemon.directory}/runtime`;
    const options = optionsOf(runtime, { root, systemdCgroup: true });
    const first = await daemon.shim(['/bin/sleep', '1000'], { id: 'c1', runtime }, spec);
    await first.create({}, options);
    const second = await daemon.shim(['/bin/sleep', '1000'], { id: 'c2', runtime }, spec);
    await assert.rejects(second.create({}, options), /OCI runtime create failed: .*already/i);
    assert.equal(show(`shim-test-${name}.scope`, 'ActiveState'), 'active');
    await second.task.shutdown({ id: 'c2' });
    await first.finish();
  });
}
