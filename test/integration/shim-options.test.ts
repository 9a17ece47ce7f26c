// The options of runc's message, one by one: what each does to the container or its shim, over every runtime and both ways.
// ShimCgroup: shim-start; IoUid and IoGid, over runc alone: shim-stdio.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packAny } from '../../internal/api/any.ts';
import { CheckpointOptions, Options } from '../../internal/api/generated/containerd.runc.v1.ts';
import type { Init } from '../../internal/api/init.ts';
import { Code } from '../../ttrpc/index.ts';
import { criuAnnotations, useCriu } from '../fixtures/criu.ts';
import { FifoReader, makeFifo } from '../fixtures/fifo.ts';
import {
  bundleSpec,
  optionsOf,
  PlayedDaemon,
  type RuntimeName,
  runtimeProgram,
  runtimes,
  type Shim,
  skipWithout,
} from '../fixtures/shim.ts';

const SIGKILL = 9;
const hasSystemd = existsSync('/run/systemd/system');

/** Like no other on the machine: keyrings are everybody's to see. */
const ID = `options-${process.pid}`;
let outputs = 0;

/** Runs a container of `sh -c script` with these options, and returns what it prints. */
async function output(
  daemon: PlayedDaemon,
  runtime: RuntimeName,
  script: string,
  options: Init<Options>,
  spec: object = {},
): Promise<string> {
  const shim = await daemon.shim(['/bin/sh', '-c', script], { id: ID, runtime }, spec);
  const stdout = new FifoReader(makeFifo(daemon.directory, `stdout-${++outputs}`));
  const given = optionsOf(runtime, { root: join(daemon.directory, 'runtime'), ...options });
  await shim.create({ stdout: stdout.path }, given);
  await shim.start();
  const code = await shim.wait();
  await stdout.ended;
  await shim.finish();
  assert.equal(code, 0, stdout.text);
  return stdout.text;
}

/** A runtime's program that keeps its arguments, one call a line, before it does what it is told. */
function recording(daemon: PlayedDaemon, runtime: RuntimeName, name = 'recorder') {
  const directory = join(daemon.directory, 'programs');
  const [program, calls] = [join(directory, name), join(daemon.directory, 'calls')];
  mkdirSync(directory, { recursive: true });
  const script = `#!/bin/sh\necho "$*" >>${calls}\nexec ${runtimeProgram(runtime)} "$@"\n`;
  writeFileSync(program, script);
  chmodSync(program, 0o755);
  return { program, directory, calls: () => readFileSync(calls, 'utf8').trim().split('\n') };
}

for (const runtime of runtimes) {
  const skip = skipWithout(runtime);
  const isProgram = runtime !== 'in-process';

  test(`${runtime}: Root is where the state of the runtime lives, below it the namespace`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/sleep', '1000'], { runtime, namespace: 'other' });
    const root = join(daemon.directory, 'elsewhere');
    await shim.create({}, optionsOf(runtime, { root }));
    assert.ok(existsSync(join(root, 'other/c1')), 'the state is there');
    await shim.start();
    await end(shim);
    assert.equal(existsSync(join(root, 'other/c1')), false);
  });

  test(`${runtime}: NoPivotRoot moves the root instead of exchanging it`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start();
    const ends: string[] = [];
    // After pivot_root(2) the root is all there is; a root that was moved lies on another mount, its parent.
    const script = 'while read id parent rest; do echo $id $parent; done </proc/self/mountinfo';
    for (const noPivotRoot of [false, true]) {
      const text = await output(daemon, runtime, script, { noPivotRoot });
      const rows = text
        .trim()
        .split('\n')
        .map((line) => line.split(' '));
      const [, parent = ''] = rows[0] ?? [];
      ends.push(parent);
    }
    assert.notEqual(ends[0], '');
    assert.notEqual(ends[0], ends[1], 'another parent');
  });

  test(`${runtime}: NoNewKeyring leaves the container the session keyring of its shim`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const script = 'cat /proc/keys; true';
    const name = new RegExp(` (_ses\\.)?${ID}: `); // crun leaves runc's prefix out
    assert.match(await output(daemon, runtime, script, { noNewKeyring: false }), name);
    assert.doesNotMatch(await output(daemon, runtime, script, { noNewKeyring: true }), name);
  });

  test(`${runtime}: IoUid and IoGid own the pipes of the process`, {
    skip: skip || (runtime === 'crun' && 'crun gives the pipes to the user and his group'),
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const { process: own } = bundleSpec(ID, []) as { process: object };
    const args = ['/bin/sh', '-c', 'stat -L -c "%u:%g" /proc/self/fd/1'];
    // The runtime gives the pipes to the user, but not to the group.
    const spec = { process: { ...own, args, user: { uid: 1234, gid: 1234 } } };
    const text = await output(daemon, runtime, '', { ioUid: 1234, ioGid: 1235 }, spec);
    assert.equal(text, '1234:1235\n');
  });

  test(`${runtime}: SystemdCgroup without systemd is refused in the runtime's words`, {
    skip: skip || (hasSystemd ? 'systemd runs here: test/vm/systemd-cgroup.test.ts' : false),
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const spec = { linux: { ...linuxOf('c1'), cgroupsPath: 'system.slice:test:c1' } };
    const shim = await daemon.shim(['/bin/true'], { runtime }, spec);
    const root = join(daemon.directory, 'runtime');
    const creating = shim.create({}, optionsOf(runtime, { root, systemdCgroup: true }));
    await assert.rejects(
      creating,
      /^TtrpcError: OCI runtime create failed: .*(systemd|sd-bus|dbus)/i,
    );
    await shim.task.shutdown({ id: 'c1' });
  });

  test(`${runtime}: CriuWorkPath is where CRIU writes its log when a container is restored`, {
    skip: skip || useCriu() || restoresNot(runtime),
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const annotations = criuAnnotations(daemon.directory);
    const [images, work] = [join(daemon.directory, 'images'), join(daemon.directory, 'criu')];
    for (const directory of [images, work]) mkdirSync(directory);
    const first = await daemon.shim(['/bin/sleep', '1000'], { id: 'c1', runtime, annotations });
    await first.create();
    await first.start();
    const checkpoint = packAny(CheckpointOptions, { exit: true, workPath: work });
    await first.task.checkpoint({ id: 'c1', path: images, options: checkpoint });
    await first.wait();
    await first.finish();
    assert.ok(existsSync(join(work, 'dump.log')), 'the log of the checkpoint');
    const second = await daemon.shim(['/bin/sleep', '1000'], { id: 'c2', runtime, annotations });
    const root = join(daemon.directory, 'runtime');
    const options = optionsOf(runtime, { root, criuWorkPath: work });
    await second.create({ checkpoint: images }, options);
    await second.start();
    assert.ok(existsSync(join(work, 'restore.log')), 'the log of the restore');
    await end(second);
  });

  test(`${runtime}: what old daemons and other places use is taken and changes nothing`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const text = await output(daemon, runtime, 'echo ran', {
      criuImagePath: '/no/such/images',
      taskApiAddress: 'unix:///no/such/socket',
      taskApiVersion: 3,
    });
    assert.equal(text, 'ran\n');
  });

  if (!isProgram) continue;
  test(`${runtime}: BinaryName is a path or a name on the daemon's PATH; it gets the options as arguments`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const { program, directory, calls } = recording(daemon, runtime);
    const root = join(daemon.directory, 'runtime');
    for (const binaryName of [program, 'recorder']) {
      const env = { PATH: `${directory}:${process.env['PATH']}` };
      const shim = await daemon.shim(['/bin/true'], { runtime, env });
      const options = { binaryName, root, noPivotRoot: true };
      await shim.create({}, packAny(Options, options));
      await shim.start();
      await shim.wait();
      await shim.finish();
    }
    const creates = calls().filter((line) => / create /.test(line));
    assert.equal(creates.length, 2);
    for (const line of creates) {
      assert.ok(line.startsWith(`--root ${root}/default --log `), line);
      assert.match(line, / --log-format json create /);
      assert.match(line, / --no-pivot c1$/);
    }
    assert.equal(calls().length, creates.length * 3, 'create, start, delete');
  });
}

for (const [binaryName, reason] of [
  [
    'runsc',
    "execute runsc: ENOENT: put it into a directory of the daemon's PATH, or set BinaryName in the runtime options",
  ],
  [
    '/opt/no/such/runtime',
    'execute /opt/no/such/runtime: ENOENT: install it, or correct BinaryName in the runtime options',
  ],
  ['/etc/passwd', 'execute /etc/passwd: EACCES'],
] as const) {
  test(`BinaryName ${binaryName}, which is not there or no program: one clear error, nothing is left`, {
    skip: skipWithout('tsrunc'),
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/true'], { env: { PATH: '/usr/bin:/bin' } });
    await assert.rejects(shim.create({}, packAny(Options, { binaryName })), {
      code: Code.UNKNOWN,
      message: `OCI runtime create failed: ${reason}`,
    });
    const mountinfo = readFileSync('/proc/self/mountinfo', 'utf8');
    assert.equal(mountinfo.includes(shim.bundle), false);
    await shim.task.shutdown({ id: 'c1' });
  });
}

function restoresNot(runtime: RuntimeName): false | string {
  return runtime === 'crun' && "Debian's crun looks for a libcriu that Debian does not have";
}

function linuxOf(id: string): object {
  return (bundleSpec(id, []) as { linux: object }).linux;
}

async function end(shim: Shim): Promise<void> {
  await shim.task.kill({ id: shim.id, signal: SIGKILL });
  assert.equal(await shim.wait(), 137);
  await shim.finish();
}
