// The systemd unit under a real systemd: `systemctl start` returns when the daemon serves, and containers live on while
// systemd restarts it, sees it die and stops it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { machineOnly } from './machine.ts';

const root = join(import.meta.dirname, '../..');
const binaries = join(root, 'dist/bin');
const missing = ['tscontainerd', 'containerd-shim-tsrunc-v2', 'tsrunc'].find(
  (name) => !existsSync(join(binaries, name)),
);
const skip = machineOnly() || (missing !== undefined && `dist/bin/${missing} is not built`);
const UNIT = 'tscontainerd.service';
const FILE = `/run/systemd/system/${UNIT}`;
const IMAGE = 'example.test/busybox:1';
const directory = skip === false ? mkdtempSync(join(tmpdir(), 'daemon-unit-')) : '';
const address = join(directory, 'daemon.sock');

function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    timeout: 300_000,
  });
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

const systemctl = (...args: string[]): string => run('systemctl', ...args);
const tsctr = (...args: string[]): string =>
  run(join(directory, 'tsctr'), '--address', address, ...args);

function property(name: string): string {
  return systemctl('show', '--property', name, '--value', UNIT).trim();
}

/** The pid of the container's process, as the daemon has it. */
function taskPid(): number {
  const tasks = JSON.parse(tsctr('--format', 'json', 'tasks', 'ls')) as { pid: number }[];
  assert.equal(tasks.length, 1, JSON.stringify(tasks));
  return Number(tasks[0]?.pid);
}

/** Asserts that the container lives, and is the same as at first, for the kernel and for the daemon. */
function assertLives(pid: number, started: string): void {
  assert.equal(startOf(pid), started);
  assert.equal(taskPid(), pid);
  assert.equal(tsctr('tasks', 'exec', '--exec-id', 'e', 'c', 'echo', 'lives'), 'lives\n');
}

/** When a process began, in ticks since boot: another one with the same pid has another time (man 5 proc_pid_stat). */
function startOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return stat.slice(stat.lastIndexOf(')')).split(' ')[20] ?? '';
}

before(async () => {
  if (skip !== false) return;
  symlinkSync(join(binaries, 'tscontainerd'), join(directory, 'tsctr'));
  const unit = readFileSync(join(root, 'build/systemd', UNIT), 'utf8');
  const flags = `--root ${directory}/root --state ${directory}/state --address ${address}`;
  writeFileSync(
    FILE,
    unit
      .replace('@BINDIR@/tscontainerd', `@BINDIR@/tscontainerd ${flags}`)
      .replace('[Service]\n', '[Service]\nEnvironment=PATH=@BINDIR@:/usr/sbin:/usr/bin\n')
      .replaceAll('@BINDIR@', binaries),
  );
  systemctl('daemon-reload');
  const image = await buildImage({
    name: IMAGE,
    layers: [busyboxRootfs().entries],
    compression: 'none',
    config: { Cmd: ['/bin/sh'] },
  });
  writeFileSync(join(directory, 'image.tar'), await imageArchive(image));
});
after(() => {
  if (skip !== false) return;
  spawnSync('systemctl', ['stop', UNIT]);
  rmSync(FILE, { force: true });
  spawnSync('systemctl', ['daemon-reload']);
  rmSync(directory, { recursive: true, force: true });
});

test('the unit: ready when it serves; containers live through restart, SIGKILL and stop', {
  skip,
}, async () => {
  systemctl('start', UNIT);
  // Nothing waits here: that `start` came back says that the socket is served.
  tsctr('images', 'import', join(directory, 'image.tar'));
  assert.equal(property('Type'), 'notify');
  assert.equal(property('Delegate'), 'yes');
  assert.equal(property('KillMode'), 'process');
  assert.equal(property('SubState'), 'running');
  const first = property('MainPID');

  tsctr('run', '--detach', IMAGE, 'c', 'sleep', '100000');
  const pid = taskPid();
  const started = startOf(pid);

  systemctl('restart', UNIT);
  const second = property('MainPID');
  assert.notEqual(second, first);
  assertLives(pid, started);

  systemctl('kill', '--kill-whom=main', '--signal=KILL', UNIT);
  const deadlineMs = performance.now() + 120_000;
  const isBack = (): boolean =>
    property('MainPID') !== second && property('SubState') === 'running';
  while (!isBack() && performance.now() < deadlineMs) await delay(200);
  assert.ok(isBack(), 'systemd does not start the daemon again');
  assertLives(pid, started);

  systemctl('stop', UNIT);
  assert.equal(property('ActiveState'), 'inactive');
  assert.equal(startOf(pid), started);

  systemctl('start', UNIT);
  assertLives(pid, started);
  tsctr('tasks', 'kill', '--signal', 'SIGKILL', 'c');
  const endMs = performance.now() + 120_000;
  while (existsSync(`/proc/${pid}`) && performance.now() < endMs) await delay(50);
  tsctr('tasks', 'delete', 'c');
  tsctr('containers', 'delete', 'c');
  systemctl('stop', UNIT);
});
