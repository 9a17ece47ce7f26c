// What an operator sees of the daemon: metrics under containerd's names and with its values, the debug socket, the log's
// format, the listener on TCP. Where containerd has the same, the test runs over it too.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { Client, credentials } from '@grpc/grpc-js';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import { Content } from '../../internal/api/generated/containerd.services.content.v1.ts';
import { Leases } from '../../internal/api/generated/containerd.services.leases.v1.ts';
import { Snapshots } from '../../internal/api/generated/containerd.services.snapshots.v1.ts';
import {
  Version,
  VersionResponse as VersionMessage,
  type VersionResponse,
} from '../../internal/api/generated/containerd.services.version.v1.ts';
import { makeCertificate, skipCertificates } from '../fixtures/certificates.ts';
import { type DaemonKind, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { until } from '../fixtures/shim.ts';

/** A port that is free now; the daemon takes it a moment later. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

function directory(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'daemon-'));
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function scrape(port: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/v1/metrics`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  return await response.text();
}

async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _message of stream) {
    // Only its end is of interest.
  }
}

function metric(lines: string, name: string): string | undefined {
  return lines
    .split('\n')
    .find((line) => line.startsWith(`${name} `))
    ?.slice(name.length + 1);
}

const CALL = 'grpc_service="containerd.services.containers.v1.Containers",grpc_type="unary"';
const READ =
  'grpc_method="Read",grpc_service="containerd.services.content.v1.Content",grpc_type="server_stream"';

for (const kind of ['tscontainerd', 'containerd-2.1'] as DaemonKind[]) {
  test(`${kind}: metrics count calls, their codes, messages and durations`, {
    skip: skipWithout(kind),
  }, async () => {
    const port = await freePort();
    const config = `[metrics]\naddress = "127.0.0.1:${port}"\ngrpc_histogram = true`;
    await using daemon = await TestDaemon.start(kind, { config });
    using connection = new GrpcConnection(daemon.address, 'default');
    const containers = connection.service(Containers);
    await containers.list({});
    await containers.list({});
    await assert.rejects(containers.get({ id: 'none' }), { code: 5 });
    const digest = `sha256:${'0'.repeat(64)}`;
    await assert.rejects(drain(connection.service(Content).read({ digest })), {
      code: 5,
    });
    // Deleting a lease synchronously is what makes the collector run.
    const leases = connection.service(Leases);
    await leases.create({ id: 'l' });
    await leases.delete({ id: 'l', sync: true });
    const lines = await scrape(port);
    const get = (name: string) => metric(lines, name);
    assert.equal(get(`grpc_server_started_total{grpc_method="List",${CALL}}`), '2');
    assert.equal(get(`grpc_server_handled_total{grpc_code="OK",grpc_method="List",${CALL}}`), '2');
    assert.equal(
      get(`grpc_server_handled_total{grpc_code="NotFound",grpc_method="Get",${CALL}}`),
      '1',
    );
    assert.equal(get(`grpc_server_msg_received_total{grpc_method="List",${CALL}}`), '2');
    assert.equal(get(`grpc_server_msg_sent_total{grpc_method="List",${CALL}}`), '2');
    assert.equal(get(`grpc_server_handled_total{grpc_code="NotFound",${READ}}`), '1');
    assert.equal(get(`grpc_server_handling_seconds_count{grpc_method="List",${CALL}}`), '2');
    assert.equal(
      get(`grpc_server_handling_seconds_bucket{grpc_method="List",${CALL},le="+Inf"}`),
      '2',
    );
    assert.match(lines, /^containerd_build_info_total\{revision="[^"]*",version="[^"]+"\} 1$/m);
    assert.match(lines, /^# TYPE containerd_gc_collections_total counter$/m);
    for (const name of ['process_cpu_seconds_total', 'process_resident_memory_bytes']) {
      assert.ok(Number(get(name)) > 0, name);
    }
    const response = await fetch(`http://127.0.0.1:${port}/metrics`);
    await response.text();
    assert.equal(response.status, 404);
  });
}

const skip = skipWithout('tscontainerd');

test('metrics count containers and snapshots, and no histogram comes without grpc_histogram', {
  skip,
}, async () => {
  const port = await freePort();
  const config = `[metrics]\naddress = "127.0.0.1:${port}"`;
  await using daemon = await TestDaemon.start('tscontainerd', { config });
  using connection = new GrpcConnection(daemon.address, 'default');
  await connection.service(Containers).create({ container: { id: 'c', runtime: { name: 'x' } } });
  const snapshots = connection.service(Snapshots);
  for (const snapshotter of ['overlayfs', 'native'])
    await snapshots.prepare({ snapshotter, key: 's' });
  const lines = await scrape(port);
  assert.equal(metric(lines, 'containerd_container_count'), '1');
  assert.equal(metric(lines, 'containerd_snapshots_total'), '2');
  assert.equal(metric(lines, 'containerd_task_count'), '0');
  assert.doesNotMatch(lines, /grpc_server_handling_seconds/);
});

test('without metrics.address, debug.address and grpc.tcp_address nothing listens for them', {
  skip,
}, async () => {
  await using daemon = await TestDaemon.start('tscontainerd');
  const { readdirSync, readFileSync, readlinkSync } = await import('node:fs');
  const pid = daemon.process.pid;
  const inodes = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    const link = linkOf(`/proc/${pid}/fd/${fd}`, readlinkSync);
    return /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? [];
  });
  const tcp = ['tcp', 'tcp6']
    .flatMap((name) => readFileSync(`/proc/${pid}/net/${name}`, 'utf8').split('\n').slice(1))
    .map((line) => line.trim().split(/\s+/)[9]);
  assert.deepEqual(
    inodes.filter((inode) => tcp.includes(inode)),
    [],
  );
});

function linkOf(path: string, readlink: (path: string) => string): string {
  try {
    return readlink(path);
  } catch {
    return ''; // closed meanwhile
  }
}

interface Answer {
  readonly status: number | undefined;
  readonly body: string;
}

function ask(socketPath: string, method: string, path: string, body = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, method, path, agent: false }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode, body }), reject);
    });
    call.once('error', reject);
    call.end(body);
  });
}

test('the debug socket tells what runs, sets the log level, and makes profiles', {
  skip,
}, async (context) => {
  const work = directory(context);
  const socket = join(work, 'debug.sock');
  const config = `[debug]\naddress = ${JSON.stringify(socket)}\nformat = "text"`;
  await using daemon = await TestDaemon.start('tscontainerd', { config, directory: work });
  assert.equal(statSync(socket).mode & 0o777, 0o660);
  const serving = /^time="[^"]+Z" level=info msg="serving" address=\S+/m;
  await until(() => serving.test(daemon.log), 'the line that it serves'); // it answers before it says so

  assert.deepEqual(await ask(socket, 'GET', '/debug/level'), { status: 200, body: 'info\n' });
  using connection = new GrpcConnection(daemon.address, 'default');
  await assert.rejects(connection.service(Containers).get({ id: 'before' }));
  assert.doesNotMatch(daemon.log, /"call refused"/);
  assert.deepEqual(await ask(socket, 'PUT', '/debug/level', 'debug\n'), {
    status: 200,
    body: 'debug\n',
  });
  await assert.rejects(connection.service(Containers).get({ id: 'after' }));
  const refused = /level=debug msg="call refused" .*after/;
  await until(() => refused.test(daemon.log), 'the line of the refused call');
  assert.deepEqual(await ask(socket, 'PUT', '/debug/level', 'loud'), {
    status: 400,
    body: 'log level "loud" is none of trace, debug, info, warn, error, fatal\n',
  });

  const profile = JSON.parse((await ask(socket, 'GET', '/debug/pprof/profile?seconds=0.2')).body);
  assert.ok(profile.nodes.length > 0 && profile.endTime > profile.startTime);
  const allocations = JSON.parse(
    (await ask(socket, 'GET', '/debug/pprof/allocs?seconds=0.1')).body,
  );
  assert.equal(typeof allocations.head.selfSize, 'number');
  const heap = JSON.parse((await ask(socket, 'GET', '/debug/pprof/heap')).body);
  assert.ok(heap.snapshot.node_count > 1000);
  assert.deepEqual(await ask(socket, 'GET', '/debug/pprof/profile?seconds=x'), {
    status: 400,
    body: 'seconds must be between 0 and 600, not "x"\n',
  });
  const variables = JSON.parse((await ask(socket, 'GET', '/debug/vars')).body);
  assert.equal(variables.pid, daemon.process.pid);
  assert.equal((await ask(socket, 'GET', '/nothing')).status, 404);
});

test('the debug socket tells what the daemon waits for', { skip }, async (context) => {
  const work = directory(context);
  const socket = join(work, 'debug.sock');
  const config = `[debug]\naddress = ${JSON.stringify(socket)}`;
  await using daemon = await TestDaemon.start('tscontainerd', { config, directory: work });
  const { Events } = await import('../../internal/api/generated/containerd.services.events.v1.ts');
  using connection = new GrpcConnection(daemon.address, 'default');
  const abort = new AbortController();
  const events = connection.service(Events).subscribe({}, { signal: abort.signal });
  const reading = drain(events).catch(() => undefined);
  while (!/Subscribe/.test((await ask(socket, 'GET', '/debug/waits')).body)) {
    // The call is on its way.
  }
  const { body } = await ask(socket, 'GET', '/debug/pprof/goroutine');
  assert.match(body, /^call \/containerd\.services\.events\.v1\.Events\/Subscribe for \d+ ms$/m);
  abort.abort();
  await reading;
});

test('grpc.tcp_address serves the API to who has no socket', { skip }, async () => {
  const port = await freePort();
  await using daemon = await TestDaemon.start('tscontainerd', {
    config: `tcp_address = "127.0.0.1:${port}"`,
  });
  assert.equal(daemon.process.exitCode, null);
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  assert.match((await versionOf(client)).version, /^\d+\.\d+\.\d+/);
});

test('the CRI is served over TCP only with disable_tcp_service = false', { skip }, async () => {
  for (const isDisabled of [true, false]) {
    const port = await freePort();
    await using daemon = await TestDaemon.start('tscontainerd', {
      hasCri: true,
      config: [
        `tcp_address = "127.0.0.1:${port}"`,
        '[plugins."io.containerd.grpc.v1.cri"]',
        `disable_tcp_service = ${isDisabled}`,
      ].join('\n'),
    });
    assert.equal(daemon.process.exitCode, null);
    const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
    const code = await new Promise((resolve) => {
      client.makeUnaryRequest(
        '/runtime.v1.RuntimeService/Version',
        () => Buffer.alloc(0),
        (bytes: Buffer) => bytes,
        {},
        (error) => {
          client.close();
          resolve(error?.code ?? 0);
        },
      );
    });
    assert.equal(code, isDisabled ? 12 : 0); // UNIMPLEMENTED
  }
});

test('grpc.tcp_tls_*: only clients with a certificate of the authority are served', {
  skip: skip || skipCertificates,
}, async (context) => {
  const work = directory(context);
  const port = await freePort();
  const server = makeCertificate(work, 'server', 'DNS:localhost');
  const client = makeCertificate(work, 'client');
  const stranger = makeCertificate(work, 'stranger');
  const config = [
    `tcp_address = "127.0.0.1:${port}"`,
    `tcp_tls_cert = ${JSON.stringify(server.certPath)}`,
    `tcp_tls_key = ${JSON.stringify(server.keyPath)}`,
    `tcp_tls_ca = ${JSON.stringify(client.certPath)}`,
  ].join('\n');
  await using daemon = await TestDaemon.start('tscontainerd', { config, directory: work });
  assert.equal(daemon.process.exitCode, null);
  const connect = ({ key, cert }: { key: string; cert: string }) =>
    new Client(
      `localhost:${port}`,
      credentials.createSsl(Buffer.from(server.cert), Buffer.from(key), Buffer.from(cert)),
    );
  assert.match((await versionOf(connect(client))).version, /^\d+\.\d+\.\d+/);
  await assert.rejects(versionOf(connect(stranger)), { code: 14 });
  const plain = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  await assert.rejects(versionOf(plain), { code: 14 });
});

function versionOf(client: Client): Promise<VersionResponse> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      `/${Version.typeName}/Version`,
      () => Buffer.alloc(0),
      (bytes: Buffer) => VersionMessage.decode(bytes),
      {},
      (error, response) => {
        client.close();
        if (error !== null || response === undefined) reject(error);
        else resolve(response);
      },
    );
  });
}
