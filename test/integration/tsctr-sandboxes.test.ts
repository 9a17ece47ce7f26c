// `tsctr sandboxes`: a pod's shared part without a kubelet, on our daemon and on containerd 2.1, whose own ctr cannot start one.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Controller } from '../../internal/api/generated/containerd.services.sandbox.v1.ts';
import { skipWithout as skipDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { bundleSpec, isAlive, sharedRootfs, skipWithout, until } from '../fixtures/shim.ts';
import { Machine, RUNTIME } from '../fixtures/shim-machine.ts';
import { skipWithoutTsctr, tsctr } from '../fixtures/tsctr.ts';

const skip = skipWithoutTsctr || skipWithout('tsrunc');

/** A file with the configuration of a sandbox that sleeps. */
function configFile(machine: Machine): string {
  const namespaces = ['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type }));
  const cgroupsPath = `/${machine.namespace}/pod`;
  const base = bundleSpec('pod', ['/bin/sleep', '1000']);
  const spec = {
    ...base,
    root: { path: sharedRootfs(), readonly: true },
    linux: { namespaces, cgroupsPath },
  };
  const path = join(machine.directory, 'pod.json');
  writeFileSync(path, JSON.stringify(spec));
  return path;
}

for (const kind of ['tscontainerd', 'containerd-2.1'] as const) {
  test(`${kind}: a sandbox is run, listed and removed`, {
    skip: skip || skipDaemon(kind),
  }, async () => {
    await using machine = await Machine.start(kind, 'tsrunc', { hasCri: true });
    using grpc = new GrpcConnection(machine.daemon.address, machine.namespace);
    const sandboxes = (...args: string[]) => {
      const where = ['-a', machine.daemon.address, '-n', machine.namespace];
      return tsctr([...where, 'sandboxes', ...args]);
    };
    const ran = sandboxes('run', ...RUNTIME, configFile(machine), 'pod');
    assert.deepEqual(ran, { status: 0, stdout: 'pod\n', stderr: '' });
    const which = { sandboxId: 'pod', sandboxer: 'shim' };
    const { state, pid } = await grpc.service(Controller).status(which);
    assert.equal(state, 'SANDBOX_READY');
    assert.match(readFileSync(`/proc/${pid}/cmdline`, 'utf8'), /sleep/);
    const listed = sandboxes('ls');
    assert.match(
      listed.stdout,
      /^ID {2}CREATED +RUNTIME +\npod \d{4}-.* UTC io\.containerd\.tsrunc\.v2 \n$/,
    );
    assert.equal(listed.stdout, machine.output('sandboxes', 'ls'), 'as ctr prints it');
    assert.equal(sandboxes('ls', '--filters', 'id==other').stdout.split('\n').length, 2);
    const again = sandboxes('run', ...RUNTIME, configFile(machine), 'pod');
    assert.equal(again.status, 1);
    assert.match(again.stderr, /pod.*already exists/);
    assert.ok(isAlive(pid), 'the first one goes on');
    const removed = sandboxes('rm', 'pod', 'missing');
    assert.deepEqual([removed.status, removed.stdout], [1, 'pod\n']);
    assert.match(removed.stderr, /^tsctr: .*"?missing"?.*not found/);
    await until(() => !isAlive(pid), 'the sandbox to end');
    assert.equal(sandboxes('ls').stdout.split('\n').length, 2);
    const bundle = join(
      machine.daemon.state,
      'io.containerd.sandbox.controller.v1.shim',
      machine.namespace,
      'pod',
    );
    assert.equal(existsSync(bundle), false);
  });
}

test('a sandbox that cannot be run is told why, and leaves nothing', {
  skip: skip || skipDaemon('tscontainerd'),
}, async () => {
  await using machine = await Machine.start('tscontainerd', 'tsrunc');
  const where = ['-a', machine.daemon.address, '-n', machine.namespace];
  const run = (...args: string[]) => tsctr([...where, 'sandboxes', 'run', ...args]);
  const damaged = join(machine.directory, 'damaged.json');
  writeFileSync(damaged, '{ "process": ');
  for (const [args, words] of [
    [[], /a file with the configuration must be given/],
    [[damaged], /an id for the sandbox must be given/],
    [['/no/such.json', 'pod'], /read \/no\/such\.json: ENOENT/],
    [[damaged, 'pod'], /damaged\.json/],
    [['--runtime', 'io.containerd.nothing.v9', configFile(machine), 'pod'], /nothing/],
  ] as const) {
    const { status, stderr } = run(...args);
    assert.equal(status, 1, args.join(' '));
    assert.match(stderr, words);
    assert.equal(tsctr([...where, 'sandboxes', 'ls', '--format', 'json']).stdout.trim(), '[]');
  }
});
