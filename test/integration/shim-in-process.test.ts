// The shim with tsrunc's code inside: the same words as of the program, nothing of the shim's in containers, and an event
// loop that goes on whatever a container's file system does.
import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packAny } from '../../internal/api/any.ts';
import { CheckpointOptions } from '../../internal/api/generated/containerd.runc.v1.ts';
import { Options as GenericOptions } from '../../internal/api/generated/runtimeoptions.v1.ts';
import { Code } from '../../ttrpc/index.ts';
import { criuAnnotations, useCriu } from '../fixtures/criu.ts';
import {
  bundleSpec,
  isAlive,
  optionsOf,
  PlayedDaemon,
  runtimeProgram,
  type Shim,
  skipWithout,
  until,
} from '../fixtures/shim.ts';

const skip = skipWithout('in-process');
const SIGKILL = 9;

const FAILURES: readonly [string, readonly string[], object][] = [
  ['a program that is not there', ['/bin/no-such-program'], {}],
  ['a bad namespace', ['/bin/true'], { linux: { namespaces: [{ type: 'moon' }] } }],
  [
    'a hook that fails',
    ['/bin/true'],
    { hooks: { createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', 'echo why >&2; exit 3'] }] } },
  ],
  [
    'a hook that takes too long',
    ['/bin/true'],
    { hooks: { prestart: [{ path: '/bin/sleep', args: ['sleep', '100'], timeout: 1 }] } },
  ],
  [
    'a mount that cannot be made',
    ['/bin/true'],
    { mounts: [{ destination: '/tmp', type: 'bind', source: '/no/such', options: ['bind'] }] },
  ],
];

type Mode = 'tsrunc' | 'in-process';

async function createAndStart(shim: Shim): Promise<void> {
  await shim.create();
  await shim.start();
}

async function failure(mode: Mode, args: readonly string[], spec: object, body = createAndStart) {
  await using daemon = await PlayedDaemon.start();
  const shim = await daemon.shim(args, { runtime: mode }, spec);
  let text = 'no error';
  try {
    await body(shim);
  } catch (thrown) {
    text = (thrown as Error).message;
  }
  const killed = shim.task.kill({ id: 'c1', signal: SIGKILL });
  await killed.then(() => shim.wait()).catch(() => {}); // most have not begun
  const fds = shim.fds.length;
  await shim.task.delete({ id: 'c1' }).catch(() => {}); // there may be none
  await shim.task.shutdown({ id: 'c1' });
  await until(() => !isAlive(shim.pid), 'the shim to leave');
  return { text: text.replaceAll(daemon.directory, 'DIRECTORY'), fds };
}

for (const [what, args, spec] of FAILURES) {
  test(`${what} fails in the same words in both modes`, { skip }, async () => {
    const [outside, inside] = [
      await failure('tsrunc', args, spec),
      await failure('in-process', args, spec),
    ];
    assert.match(inside.text, /^OCI runtime (create|start) failed: /);
    assert.equal(inside.text, outside.text);
  });
}

/** Changes limits of a container; `resources` as in config.json. */
async function update(shim: Shim, resources: object): Promise<void> {
  const typeUrl = 'types.containerd.io/opencontainers/runtime-spec/1/LinuxResources';
  const value = Buffer.from(JSON.stringify(resources));
  await shim.task.update({ id: shim.id, resources: { typeUrl, value } });
}

const REFUSED_UPDATES: readonly [string, object][] = [
  ['memory nodes that are not there', { cpu: { mems: '77' } }],
  ['less memory and swap than memory', { memory: { limit: 8 << 20, swap: 4 << 20 } }],
  ['no resources', { pids: { limit: 'many' } }],
];

for (const [what, resources] of REFUSED_UPDATES) {
  test(`an update to ${what} fails in the same words in both modes`, { skip }, async () => {
    const updated = async (shim: Shim): Promise<void> => {
      await createAndStart(shim);
      await update(shim, resources);
    };
    const args = ['/bin/sleep', '1000'];
    const outside = await failure('tsrunc', args, {}, updated);
    const inside = await failure('in-process', args, {}, updated);
    assert.match(inside.text, /^OCI runtime update failed: /);
    // The program reads a file, whose name it tells.
    assert.equal(inside.text, outside.text.replace(/\S*\/resources-\d+\.json/, 'resources'));
  });
}

test('the systemd driver fails in the same words in both modes where there is no systemd', {
  skip: skip || (existsSync('/run/dbus/system_bus_socket') && 'there is a D-Bus here'),
}, async () => {
  const { linux: plain } = bundleSpec('c1', []) as { linux: object };
  const linux = { ...plain, cgroupsPath: 'system.slice:shim-test:c1' };
  const created = async (shim: Shim): Promise<void> => {
    await shim.create({}, optionsOf(shim.runtime, { systemdCgroup: true }));
  };
  const outside = await failure('tsrunc', ['/bin/true'], { linux }, created);
  const inside = await failure('in-process', ['/bin/true'], { linux }, created);
  assert.match(inside.text, /^OCI runtime create failed: ask org\.freedesktop\.systemd1 at /);
  assert.equal(inside.text, outside.text);
});

test('no operation on a container starts the program', { skip: skip || useCriu() }, async () => {
  await using daemon = await PlayedDaemon.start();
  const [program, calls] = ['tsrunc', 'calls'].map((name) => join(daemon.directory, name));
  assert.ok(program !== undefined && calls !== undefined);
  const script = `#!/bin/sh\necho "$@" >>${calls}\nexec ${runtimeProgram('tsrunc')} "$@"\n`;
  writeFileSync(program, script, { mode: 0o755 });
  writeFileSync(calls, '');
  const annotations = criuAnnotations(daemon.directory);
  const images = join(daemon.directory, 'images');
  mkdirSync(images);
  const make = async (id: string): Promise<Shim> => {
    const shim = await daemon.shim(['/bin/sleep', '1000'], {
      id,
      runtime: 'in-process',
      annotations,
    });
    shim.binary = program;
    mkdirSync(join(shim.bundle, 'work'), { recursive: true });
    return shim;
  };
  const first = await make('c1');
  await createAndStart(first);
  await first.exec('e1', ['/bin/true']);
  assert.equal(await first.wait('e1'), 0);
  await first.task.pause({ id: 'c1' });
  await first.task.resume({ id: 'c1' });
  await update(first, { pids: { limit: 77 }, memory: { limit: 64 << 20 } });
  await first.task.pids({ id: 'c1' });
  const options = packAny(CheckpointOptions, { exit: true });
  await first.task.checkpoint({ id: 'c1', path: images, options });
  assert.equal(await first.wait(), 128 + SIGKILL);
  await first.finish();
  const second = await make('c2');
  await second.create({ checkpoint: images });
  await second.start();
  await end(second);
  assert.equal(readFileSync(calls, 'utf8'), '');
});

test('a container made in the shim has nothing of the shim', { skip }, async () => {
  await using daemon = await PlayedDaemon.start();
  const shim = await daemon.shim(['/bin/sleep', '1000'], { runtime: 'in-process' });
  const pid = await shim.create();
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  // It waits for start: its streams, the fifo of its start, the one for errors, the host's procfs (the root of a mount that
  // has no place in its mount namespace).
  const own =
    /^(?:\/dev\/null|\/(?:proc)?|.*\/c1\/(?:exec\.fifo|start\.errors)|pipe:.*|.*cgroup.*)$/;
  assert.deepEqual(
    links.filter((link) => !own.test(link)),
    [],
  );
  const theirs = new Set(links.filter((link) => link.startsWith('pipe:')));
  const shared = shim.fds
    .map((fd) => linkOf(shim.pid, fd))
    .filter((link) => link !== undefined && theirs.has(link));
  assert.deepEqual(shared, []);
  assert.match(readlinkSync(`/proc/${pid}/exe`), /^\/memfd:executable /);
  assert.match(readFileSync(`/proc/${pid}/status`, 'utf8'), new RegExp(`\nPPid:\t${shim.pid}\n`));
  await shim.start();
  assert.deepEqual(readdirSync(`/proc/${pid}/fd`).sort(), ['0', '1', '2']);
  await shim.exec('e1', ['/bin/sleep', '1000']);
  const { pid: execPid } = await shim.task.state({ id: 'c1', execId: 'e1' });
  assert.deepEqual(readdirSync(`/proc/${execPid}/fd`).sort(), ['0', '1', '2']);
  assert.match(
    readFileSync(`/proc/${execPid}/status`, 'utf8'),
    /\nSigBlk:\t0{16}\nSigIgn:\t0{16}\n/,
  );
  await end(shim);
});

test('a hook that hangs holds up only its own container', { skip }, async () => {
  await using daemon = await PlayedDaemon.start();
  const gate = join(daemon.directory, 'gate');
  const hooks = {
    createRuntime: [
      { path: '/bin/sh', args: ['sh', '-c', `until test -e ${gate}; do sleep 0.05; done`] },
    ],
  };
  const annotations = { 'io.kubernetes.cri.sandbox-id': 'pod' };
  const first = await daemon.shim(['/bin/sleep', '1000'], { runtime: 'in-process', annotations });
  await first.create();
  await first.start();
  const more = { id: 'c2', runtime: 'in-process', annotations } as const;
  const second = await daemon.shim(['/bin/true'], more, { hooks });
  assert.equal(second.pid, first.pid, 'one shim for both');
  const creating = second.create();
  for (let index = 0; index < 20; index++) {
    await first.exec(`e${index}`, ['/bin/sh', '-c', `exit ${index}`]);
    assert.equal(await first.wait(`e${index}`), index);
  }
  closeSync(openSync(gate, 'w'));
  await creating;
  await second.start();
  assert.equal(await second.wait(), 0);
  await second.task.delete({ id: 'c2' });
  rmSync(gate);
  await end(first);
});

test('InProcess is refused for another runtime', { skip }, async () => {
  await using daemon = await PlayedDaemon.start();
  const shim = await daemon.shim(['/bin/true'], { runtime: 'in-process' });
  const table = 'InProcess = true\nBinaryName = "/usr/bin/crun"\n';
  const options = packAny(GenericOptions, { configBody: Buffer.from(table) });
  await assert.rejects(shim.create({}, options), {
    code: Code.INVALID_ARGUMENT,
    message:
      'runtime options: InProcess is not for crun: leave InProcess out, or BinaryName: invalid argument',
  });
  await shim.task.shutdown({ id: 'c1' });
  await until(() => !isAlive(shim.pid), 'the shim to leave');
});

function linkOf(pid: number, fd: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return undefined; // closed meanwhile
  }
}

async function end(shim: Shim): Promise<void> {
  await shim.task.kill({ id: shim.id, signal: SIGKILL });
  await shim.wait();
  await shim.finish();
}
