// node test/bench/called-functions-daemon.ts: writes build/called-functions-daemon.json, the functions that the daemon
// calls from its start to the first answers. The build compiles those ahead (build/code-cache.ts). Others are compiled when
// they are called, so a list that is out of date costs time and nothing else. Needs root.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import { Images } from '../../internal/api/generated/containerd.services.images.v1.ts';
import { Version } from '../../internal/api/generated/containerd.services.version.v1.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { buildRecording, recordedKeys } from './function-recorder.ts';

const PART = 'tscontainerd-serve.js';
const output = join(import.meta.dirname, '../../build/called-functions-daemon.json');
/** A slow machine builds and starts slowly. */
const DEADLINE_MS = 60_000;

/** Stands in front of the daemon: runs it, and writes down on SIGUSR2 what it called. */
const RECORDER = `
const { Session } = require('node:inspector');
const { writeFileSync } = require('node:fs');
const session = new Session();
session.connect();
session.post('Profiler.enable');
session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
process.on('SIGUSR2', () => session.post('Profiler.takePreciseCoverage', (error, { result }) => {
  const text = JSON.stringify(result.filter(({ url }) => url === '${PART}'));
  writeFileSync(process.env.RECORD_DIRECTORY + '/calls.json', text);
  process.exit(0);
}));
require.part('./${PART}').then(({ serve }) => serve(JSON.parse(process.env.RECORD_ARGUMENTS)));`;

const directory = mkdtempSync(join(tmpdir(), 'called-functions-daemon-'));
try {
  const program = join(directory, 'tscontainerd');
  const chunks = await buildRecording('tscontainerd', RECORDER, program);
  const calls = join(directory, 'calls');
  mkdirSync(calls);
  await live(program, calls);
  const called = recordedKeys(calls, chunks);
  writeFileSync(output, `${JSON.stringify([...called].sort(), null, 2)}\n`);
  console.log(`${called.size} functions`);
} finally {
  rmSync(directory, { recursive: true });
}

/** A daemon that has something to list, started, asked, and started again: the second start finds what the first left. */
async function live(program: string, calls: string): Promise<void> {
  const config = join(directory, 'config.toml');
  writeFileSync(
    config,
    `version = 2\n[plugins."io.containerd.internal.v1.opt"]\npath = "${directory}/opt"\n`,
  );
  const address = join(directory, 'grpc.sock');
  const args = {
    command: 'serve',
    configPath: config,
    flags: { root: join(directory, 'root'), state: join(directory, 'state'), address },
  };
  const env = {
    ...process.env,
    RECORD_DIRECTORY: calls,
    RECORD_ARGUMENTS: JSON.stringify(args),
  };
  for (const start of ['first', 'second']) {
    const child = spawn(program, { env, stdio: 'ignore' });
    const exited = once(child, 'exit');
    try {
      await waitUntilServed(address);
      using connection = new GrpcConnection(address, 'default');
      await connection.service(Version).version({});
      if (start === 'first') await fill(connection);
      await connection.service(Containers).list({});
      await connection.service(Images).list({});
    } finally {
      child.kill(start === 'first' ? 'SIGTERM' : 'SIGUSR2');
      await exited;
    }
  }
  if (!existsSync(join(calls, 'calls.json'))) throw new Error('the daemon wrote nothing down');
}

async function fill(connection: GrpcConnection): Promise<void> {
  const value = Buffer.from('{"ociVersion":"1.2.0"}');
  const spec = { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value };
  const runtime = { name: 'io.containerd.runc.v2' };
  const container = { id: 'one', image: 'example.com/one:1', runtime, spec };
  await connection.service(Containers).create({ container });
  const digest = `sha256:${'0'.repeat(64)}`;
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const target = { mediaType, digest, size: 1n };
  await connection.service(Images).create({ image: { name: 'example.com/one:1', target } });
}

async function waitUntilServed(address: string): Promise<void> {
  const deadlineMs = performance.now() + DEADLINE_MS;
  while (performance.now() < deadlineMs) {
    const socket = connect(address);
    const isServed = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isServed) return;
    await delay(20);
  }
  throw new Error('the daemon does not serve');
}
