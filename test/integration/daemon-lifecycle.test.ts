// The daemon as a process: its directories, locks and sockets, how it starts, stops and says what is wrong.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Events as ShimEvents } from '../../internal/api/generated/containerd.services.events.ttrpc.v1.ts';
import { Events } from '../../internal/api/generated/containerd.services.events.v1.ts';
import { Introspection } from '../../internal/api/generated/containerd.services.introspection.v1.ts';
import { Namespaces } from '../../internal/api/generated/containerd.services.namespaces.v1.ts';
import { Any } from '../../internal/api/generated/google.protobuf.ts';
import { timestampFromNs } from '../../internal/api/time.ts';
import { TtrpcClient } from '../../ttrpc/index.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';

const skip = skipWithout('tscontainerd');
const MAIN = join(import.meta.dirname, '../../cmd/tscontainerd/main.ts');

function temporaryDirectory(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'daemon-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Runs the daemon's binary with arguments with which it must end by itself. */
function tscontainerd(args: string[], input = '') {
  const argv = ['--disable-sigusr1', MAIN, ...args];
  return spawnSync(process.execPath, argv, { encoding: 'utf8', input, timeout: 60_000 });
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadlineMs = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error(`waited 20 s until ${what}`);
    await delay(20); // another process' log has no event
  }
}

test('directories and sockets are closed to others', { skip }, async () => {
  await using daemon = await TestDaemon.start('tscontainerd');
  const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);
  const content = join(daemon.root, 'io.containerd.content.v1.content');
  for (const path of [
    daemon.root,
    daemon.state,
    join(content, 'ingest'),
    join(content, 'blobs/sha256'),
  ]) {
    assert.equal(mode(path), '700', path);
  }
  assert.equal(mode(daemon.address), '660');
  assert.equal(mode(`${daemon.address}.ttrpc`), '660');
});

test('a configured owner gets the socket, others do not', { skip }, async (context) => {
  const directory = temporaryDirectory(context);
  chmodSync(directory, 0o755);
  const config = 'uid = 0\ngid = 65534';
  await using daemon = await TestDaemon.start('tscontainerd', { directory, config });
  const { mode, uid, gid } = statSync(daemon.address);
  assert.deepEqual([mode & 0o777, uid, gid], [0o660, 0, 65534]);
  const tryConnect = (gid: number) => {
    const script = `require('node:net').connect(${JSON.stringify(daemon.address)})
      .on('connect', () => process.exit(0)).on('error', (e) => { console.log(e.code); process.exit(1); })`;
    return spawnSync(process.execPath, ['-e', script], {
      uid: 65533,
      gid,
      encoding: 'utf8',
    }).stdout.trim();
  };
  assert.equal(tryConnect(65534), '');
  assert.equal(tryConnect(65533), 'EACCES');
});

test('a second daemon on a root names the pid of the first', { skip }, async () => {
  await using daemon = await TestDaemon.start('tscontainerd');
  const args = ['-c', '/dev/null', '--root', daemon.root, '--state', daemon.state];
  const { status, stderr } = tscontainerd([...args, '-a', join(daemon.directory, 'other.sock')]);
  assert.equal(status, 1);
  assert.equal(
    stderr,
    `tscontainerd: root ${daemon.root} is in use by the daemon with pid ${daemon.process.pid}: ` +
      'stop that daemon or choose another --root\n',
  );
});

test('a socket that is served is not taken over', { skip }, async (context) => {
  await using daemon = await TestDaemon.start('tscontainerd');
  const directory = temporaryDirectory(context);
  const args = ['-c', '/dev/null', '--root', join(directory, 'r'), '--state', join(directory, 's')];
  const { status, stderr } = tscontainerd([...args, '-a', daemon.address]);
  assert.equal(status, 1);
  // Before that its log may tell what this machine has no use for.
  assert.match(
    stderr,
    /^tscontainerd: listen on \S+: another process serves this socket: stop it or choose another --address\n$/m,
  );
  using connection = new GrpcConnection(daemon.address, 'x');
  await connection.service(Namespaces).list({});
});

test('after SIGKILL the next daemon replaces the socket and has all records and its uuid', {
  skip,
}, async (context) => {
  const directory = temporaryDirectory(context);
  const identity = async (daemon: TestDaemon) => {
    using connection = new GrpcConnection(daemon.address, 'x');
    const { namespaces } = await connection.service(Namespaces).list({});
    const { uuid } = await connection.service(Introspection).server({});
    return { names: namespaces.map(({ name }) => name), uuid };
  };
  const first = await TestDaemon.start('tscontainerd', { directory });
  {
    using connection = new GrpcConnection(first.address, 'x');
    await connection.service(Namespaces).create({ namespace: { name: 'kept' } });
  }
  const before = await identity(first);
  await first.kill('SIGKILL');
  await using second = await TestDaemon.start('tscontainerd', { directory });
  assert.deepEqual(await identity(second), before);
  assert.deepEqual(before.names, ['kept']);
});

test('SIGTERM: the daemon ends with 0 though a subscriber listens', { skip }, async () => {
  await using daemon = await TestDaemon.start('tscontainerd');
  using connection = new GrpcConnection(daemon.address, 'x');
  const subscription = connection.service(Events).subscribe({});
  const ended = (async () => {
    for await (const _envelope of subscription) return 'event';
    return 'end';
  })().catch((error: { code: number }) => error.code);
  await until(() => {
    daemon.process.kill('SIGUSR1');
    return daemon.log.includes('call /containerd.services.events.v1.Events/Subscribe for');
  }, 'SIGUSR1 shows the waiting call');
  const exited = once(daemon.process, 'exit');
  daemon.process.kill('SIGTERM');
  assert.deepEqual(await exited, [0, null]);
  assert.equal(await ended, 14); // UNAVAILABLE: clients reconnect
});

test('subscriptions that are cancelled at once do not stay', { skip }, async () => {
  await using daemon = await TestDaemon.start('tscontainerd');
  // Frames as Go's clients send them, which cancel after the request as well as in the middle.
  const createConnection = () => connect(daemon.address);
  const session = http2.connect('http://localhost', { createConnection });
  const emptyMessage = Buffer.alloc(5);
  const closed: Promise<unknown>[] = [];
  for (let i = 0; i < 300; i++) {
    const stream = session.request({
      ':method': 'POST',
      ':path': `/${Events.typeName}/Subscribe`,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    closed.push(once(stream, 'close'));
    stream.end(emptyMessage);
    if (i % 3 === 1) await new Promise(setImmediate);
    if (i % 3 === 2) await delay(1); // past the start of the subscription
    stream.close(http2.constants.NGHTTP2_CANCEL);
  }
  await Promise.all(closed);
  session.close();
  await until(() => {
    daemon.process.kill('SIGUSR1');
    return daemon.log.includes('"waits":[]');
  }, 'all subscriptions are gone');
});

test('READY=1 is sent when the socket serves, STOPPING=1 when it ends', {
  skip,
}, async (context) => {
  const directory = temporaryDirectory(context);
  const path = join(directory, 'notify.sock');
  const script = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); print('bound', flush=True)
while True:
    message = s.recv(4096).decode(); print(message, flush=True)
    if message == 'STOPPING=1': break
`;
  const receiver = spawn('python3', ['-c', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  context.after(() => receiver.kill());
  let said = '';
  receiver.stdout.on('data', (data) => {
    said += data;
  });
  await until(() => said.includes('bound'), 'the receiver listens');
  const daemon = await TestDaemon.start('tscontainerd', { env: { NOTIFY_SOCKET: path } });
  await until(() => said.includes('READY=1'), 'READY=1 arrived');
  const closed = once(receiver, 'close');
  await daemon[Symbol.asyncDispose]();
  await closed;
  assert.equal(said, 'bound\nREADY=1\nSTOPPING=1\n');
});

test('events of shims come in over ttrpc, and of old shims by the publish command', {
  skip,
}, async () => {
  await using daemon = await TestDaemon.start('tscontainerd');
  using connection = new GrpcConnection(daemon.address, 'x');
  const events = connection.service(Events).subscribe({ filters: ['topic~="^/tasks/"'] });
  const iterator = events[Symbol.asyncIterator]();
  const first = iterator.next();
  const socket = connect(`${daemon.address}.ttrpc`);
  await once(socket, 'connect');
  await using client = new TtrpcClient(socket);
  const envelope = {
    timestamp: timestampFromNs(5_000_000_007n),
    namespace: 'shim',
    topic: '/tasks/exit',
    event: { typeUrl: 'containerd.events.TaskExit', value: Buffer.from([]) },
  };
  const shim = client.service(ShimEvents);
  await shim.forward({ envelope: { ...envelope, topic: '/none/yet' } });
  const sending = setInterval(() => void shim.forward({ envelope }), 20); // until it is subscribed
  const { value } = await first;
  clearInterval(sending);
  assert.deepEqual(
    [value?.namespace, value?.topic, value?.timestamp],
    ['shim', '/tasks/exit', envelope.timestamp],
  );
  await assert.rejects(shim.forward({ envelope: { ...envelope, topic: 'bad' } }), {
    code: 3,
    message: 'topic "bad" must start with \'/\': invalid argument',
  });
  const input = Any.encode({ typeUrl: 'containerd.events.TaskOOM', value: Buffer.from('x') });
  const publish = ['-c', '/dev/null', '-a', daemon.address, 'publish', '--namespace', 'old'];
  const child = spawn(process.execPath, [MAIN, ...publish, '--topic', '/tasks/oom']);
  child.stdin.end(input);
  const [status] = await once(child, 'exit');
  assert.equal(status, 0);
  for (;;) {
    const { value: next } = await iterator.next();
    if (next?.topic !== '/tasks/oom') continue;
    assert.deepEqual([next.namespace, next.event?.typeUrl], ['old', 'containerd.events.TaskOOM']);
    break;
  }
});

const REFUSALS: [string, (directory: string) => string[], RegExp][] = [
  ['an unknown flag', () => ['--bogus'], /^tscontainerd: Unknown option '--bogus'/],
  [
    'an unknown command',
    () => ['bogus'],
    /^tscontainerd: no command "bogus": see tscontainerd --help\n$/,
  ],
  [
    'a configuration with a wrong type',
    (directory) => {
      writeFileSync(join(directory, 'c.toml'), 'version = 3\n\n[grpc]\nuid = "root"\n');
      return ['-c', join(directory, 'c.toml')];
    },
    /^tscontainerd: \S+c\.toml:4: grpc\.uid must be an integer, not a string\n$/,
  ],
  [
    'a socket path that is too long',
    (directory) => [
      '-c',
      '/dev/null',
      '--root',
      join(directory, 'r'),
      '--state',
      join(directory, 's'),
      '-a',
      `/tmp/${'x'.repeat(110)}`,
    ],
    /a socket path has at most 107 bytes: choose a shorter --address\n$/,
  ],
  [
    'a database of a newer schema',
    (directory) => {
      mkdirSync(join(directory, 'r'));
      const database = new DatabaseSync(join(directory, 'r/metadata.db'));
      database.exec('PRAGMA application_id = 0x54534344; PRAGMA user_version = 4711');
      database.close();
      return [
        '-c',
        '/dev/null',
        '--root',
        join(directory, 'r'),
        '--state',
        join(directory, 's'),
        '-a',
        join(directory, 'x.sock'),
      ];
    },
    /^tscontainerd: \S+metadata\.db has schema 4711, this tscontainerd knows up to \d+: start the newer tscontainerd that wrote it\n$/,
  ],
  [
    'a root that is a file',
    (directory) => {
      writeFileSync(join(directory, 'r'), '');
      return [
        '-c',
        '/dev/null',
        '--root',
        join(directory, 'r'),
        '--state',
        join(directory, 's'),
        '-a',
        join(directory, 'x.sock'),
      ];
    },
    /^tscontainerd: make directory \S+\/r: EEXIST\n$/,
  ],
  [
    'a required plugin that is not there',
    (directory) => {
      writeFileSync(
        join(directory, 'c.toml'),
        'version = 3\nrequired_plugins = ["io.containerd.x.v1.y"]',
      );
      return [
        '-c',
        join(directory, 'c.toml'),
        '--root',
        join(directory, 'r'),
        '--state',
        join(directory, 's'),
        '-a',
        join(directory, 'x.sock'),
      ];
    },
    /required plugin "io\.containerd\.x\.v1\.y": there is none\n$/,
  ],
];

for (const [what, args, message] of REFUSALS) {
  test(`start: refuses ${what} in one line`, { skip }, (context) => {
    const { status, stderr, stdout } = tscontainerd(args(temporaryDirectory(context)));
    assert.equal(status, 1);
    assert.match(stderr, message);
    assert.equal(stdout, '');
  });
}

test('config default is a configuration that is accepted without warnings', { skip }, (context) => {
  const directory = temporaryDirectory(context);
  const path = join(directory, 'c.toml');
  writeFileSync(path, tscontainerd(['config', 'default']).stdout);
  const { status, stdout, stderr } = tscontainerd([
    '-c',
    path,
    '--root',
    '/elsewhere',
    'config',
    'dump',
  ]);
  assert.deepEqual([status, stderr], [0, '']);
  assert.match(stdout, /^root = '\/elsewhere'$/m);
});
