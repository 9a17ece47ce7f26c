// Our ttrpc against containerd's own, in Go: the client calls Debian's runc shims, and the shims publish their events to
// our server.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { unpackAny } from '../../internal/api/any.ts';
import { TaskCreate } from '../../internal/api/generated/containerd.events.ts';
import { Events } from '../../internal/api/generated/containerd.services.events.ttrpc.v1.ts';
import { Task as TaskV2 } from '../../internal/api/generated/containerd.task.v2.ts';
import { Task as TaskV3 } from '../../internal/api/generated/containerd.task.v3.ts';
import type { Envelope } from '../../internal/api/generated/containerd.types.ts';
import { Code, TtrpcClient, TtrpcServer } from '../../ttrpc/index.ts';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { writeRootfs } from '../fixtures/rootfs.ts';
import { type PeerName, peer } from '../peers/index.ts';

const SHIMS = [
  ['containerd-shim-runc-v2-2.1', 'runc-1.3'],
  ['containerd-shim-runc-v2-1.6', 'runc-1.1'],
] as const satisfies [PeerName, PeerName][];

for (const [shimName, runcName] of SHIMS) {
  const shim = peer(shimName);
  const runc = peer(runcName);
  const skip =
    shim.skip || runc.skip || (process.getuid?.() === 0 ? false : 'only root can start a shim');

  test(`${shimName}: its answers, errors and events are understood`, { skip }, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'ttrpc-interop-'));
    const id = `interop-${process.pid}`;
    const eventSocket = join(directory, 'events.sock');
    const received = Promise.withResolvers<Envelope>();
    const server = new TtrpcServer().add(Events, {
      async forward({ envelope }) {
        if (envelope?.topic === '/tasks/create') received.resolve(envelope);
        return {};
      },
    });
    await server.listen(eventSocket);
    const bundle = join(directory, 'bundle');
    mkdirSync(join(bundle, 'rootfs'), { recursive: true });
    writeRootfs(join(bundle, 'rootfs'), busyboxRootfs().entries);
    execFileSync(runc.path, ['spec'], { cwd: bundle });
    prepareSpec(join(bundle, 'config.json'), id);
    // A shim writes its log to this fifo and does not serve without it. Open for reading and writing it never blocks.
    execFileSync('mkfifo', [join(bundle, 'log')]);
    const log = openSync(join(bundle, 'log'), 'r+');
    const args = ['-namespace', 'interop', '-address', join(directory, 'grpc.sock'), '-id', id];
    const start = spawnSync(shim.path, [...args, '-publish-binary', '/bin/false', 'start'], {
      cwd: bundle,
      env: { ...runc.env, TTRPC_ADDRESS: eventSocket, XDG_RUNTIME_DIR: directory },
      encoding: 'utf8',
      input: '',
    });
    assert.equal(start.status, 0, start.stderr);
    const { path, isVersion3 } = parseStart(start.stdout);
    const client = await TtrpcClient.connect(path);
    // Version 3 has the messages of version 2 under another name.
    const shimTask = client.service(isVersion3 ? (TaskV3 as unknown as typeof TaskV2) : TaskV2);
    try {
      const { shimPid } = await shimTask.connect({ id }, { timeoutMs: 5000 });
      assert.ok(shimPid > 1);
      await assert.rejects(shimTask.state({ id: 'nobody' }), { code: Code.NOT_FOUND });
      const unknown = { ...TaskV2, typeName: 'containerd.task.v9.Task' } as const;
      await assert.rejects(client.service(unknown).state({ id }), {
        code: Code.UNIMPLEMENTED,
        message: 'service containerd.task.v9.Task',
      });
      const answers = await Promise.allSettled(
        Array.from({ length: 200 }, () => shimTask.state({ id: 'nobody' })),
      );
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set(['rejected']));

      const { pid } = await shimTask.create(
        { id, bundle, stdin: '', stdout: '', stderr: '', terminal: false },
        { timeoutMs: 20_000, metadata: [['containerd-namespace-ttrpc', 'interop']] },
      );
      const envelope = await received.promise;
      assert.equal(envelope.namespace, 'interop');
      assert.deepEqual(unpackAny(envelope.event, TaskCreate), {
        containerId: id,
        bundle,
        rootfs: [],
        io: { stdin: '', stdout: '', stderr: '', terminal: false },
        checkpoint: '',
        pid,
      });
      const wait = shimTask.wait({ id });
      await shimTask.start({ id });
      await assert.rejects(shimTask.wait({ id }, { timeoutMs: 50 }), {
        code: Code.DEADLINE_EXCEEDED,
      });
      await shimTask.kill({ id, signal: 9, all: true });
      assert.equal((await wait).exitStatus, 137);
      assert.equal((await shimTask.delete({ id })).exitStatus, 137);
      assert.equal(await answerToOversized(path), Code.RESOURCE_EXHAUSTED);
    } finally {
      await shimTask.shutdown({ id, now: true }).catch(() => undefined); // it may close first
      client.close();
      await server.shutdown(0);
      spawnSync(runc.path, ['--root', '/run/containerd/runc/interop', 'delete', '--force', id]);
      closeSync(log);
      rmSync(directory, { recursive: true, force: true });
      rmSync(path, { force: true });
    }
  });
}

/** A `sleep` with a cgroup of its own and no terminal, that this machine's root may start. */
function prepareSpec(path: string, id: string): void {
  const spec = JSON.parse(readFileSync(path, 'utf8'));
  spec.process.terminal = false;
  spec.process.args = ['/bin/sleep', '100'];
  spec.process.rlimits = undefined;
  spec.linux.cgroupsPath = `/${id}`;
  writeFileSync(path, JSON.stringify(spec));
}

/** What `start` printed: JSON since 2.0, before that the bare address of a shim of version 2. */
function parseStart(printed: string): { path: string; isVersion3: boolean } {
  const { address, version } = printed.startsWith('{')
    ? JSON.parse(printed)
    : { address: printed.trim(), version: 2 };
  return { path: address.replace('unix://', ''), isVersion3: version === 3 };
}

/** Sends a request one byte over the limit and returns the code of the answer. */
async function answerToOversized(path: string): Promise<number> {
  const socket = connect(path);
  const header = Buffer.from('00400001000000010100', 'hex');
  socket.write(Buffer.concat([header, Buffer.alloc(0x400001)]));
  const answer = await new Promise<Buffer>((resolve, reject) => {
    socket.once('data', resolve);
    socket.once('error', reject);
  });
  socket.destroy();
  // Response { status { code } }: after the frame's header the tags 0a LENGTH 08 CODE.
  return answer[13] ?? 0;
}
