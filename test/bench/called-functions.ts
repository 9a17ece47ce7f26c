// node test/bench/called-functions.ts: writes build/called-functions.json, the functions that tsrunc calls in the life of
// usual containers. The build compiles those ahead (build/code-cache.ts). Others are compiled when they are called, so a
// list that is out of date costs time and nothing else.
//
// It builds the programs inside of tsrunc so that they count their calls, and runs them. Needs root.
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { transform } from 'esbuild';
import { chunkFunction } from '../../build/chunk-loader.ts';
import { keyFunctions } from '../../build/function-keys.ts';
import { defaultSeccomp, defaultSpec, formatJson } from '../../internal/oci/index.ts';
import { makeBundle } from './bundle.ts';
import { buildRecording, recordedKeys } from './function-recorder.ts';

const root = join(import.meta.dirname, '../..');
const output = join(root, 'build/called-functions.json');

/** What this machine may not call, since its cgroups are of the other version: all functions of these files count. */
const OTHER_CGROUPS =
  /^(?:internal\/cgroups\/(?:v[12]-|device-|cgroup-files)|internal\/linux\/bpf)/;

/** What is called once the calls are written down. */
const CALLED_LATER = ['exitProcess', 'isKoffiLoaded'];

/** Stands in front of the programs: runs the one that the command line names and writes down what it called. */
const RECORDER = `
const { Session } = require('node:inspector');
const { writeFileSync } = require('node:fs');
const session = new Session();
session.connect();
session.post('Profiler.enable');
session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
const args = process.argv.slice(2);
const name = args.find((each) => process.env.RECORD_COMMANDS.split(' ').includes(each));
require.part('./single-' + name + '.js').then(async ({ main, exitProcess }) => {
  const status = await main(args);
  session.post('Profiler.takePreciseCoverage', (error, { result }) => {
    const file = process.env.RECORD_DIRECTORY + '/' + process.pid + '.json';
    writeFileSync(file, JSON.stringify(result.filter(({ url }) => url.startsWith('single-'))));
  });
  exitProcess(status);
});`;

/** What containers of an engine have and the default configuration has not. */
function engineLike(config: string): string {
  const spec = defaultSpec(existsSync('/sys/fs/cgroup/cgroup.controllers'));
  const given = JSON.parse(config) as { process: object; linux: object };
  const names = spec.process?.capabilities?.bounding ?? [];
  return formatJson({
    ...given,
    hostname: 'called',
    process: {
      ...given.process,
      user: { uid: 1000, gid: 1000, umask: 0o22, additionalGids: [10, 20] },
      noNewPrivileges: true,
      oomScoreAdj: 900,
      rlimits: [{ type: 'RLIMIT_NOFILE', soft: 1024, hard: 1024 }],
    },
    linux: {
      ...given.linux,
      seccomp: defaultSeccomp(names),
      sysctl: { 'net.ipv4.ip_unprivileged_port_start': '0' },
      resources: {
        ...spec.linux?.resources,
        memory: { limit: 256 << 20 },
        cpu: { shares: 512, quota: 50_000, period: 100_000 },
        pids: { limit: 100 },
      },
    },
    annotations: { 'io.kubernetes.cri.container-type': 'container' },
  });
}

async function main(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'called-functions-'));
  try {
    const program = join(directory, 'tsrunc');
    const chunks = await buildRecording('tsrunc', RECORDER, program);
    await live(program, directory);
    const called = recordedKeys(join(directory, 'calls'), chunks);
    for (const key of [...(await otherCgroups()), ...CALLED_LATER]) called.add(key);
    writeFileSync(output, `${JSON.stringify([...called].sort(), null, 2)}\n`);
    console.log(`${called.size} functions`);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Lets containers live, of the default configuration and of one as engines have it. */
async function live(program: string, directory: string): Promise<void> {
  const calls = join(directory, 'calls');
  mkdirSync(calls);
  const commands = ['create', 'start', 'state', 'kill', 'delete', 'run', 'exec'];
  const env = { ...process.env, RECORD_DIRECTORY: calls, RECORD_COMMANDS: commands.join(' ') };
  const tsrunc = (...args: string[]): void => {
    const global = [
      '--root',
      join(directory, 'state'),
      '--log',
      join(directory, 'log'),
      '--log-format',
      'json',
    ];
    // Nothing to read from: a container that is created keeps what it gets.
    const { status } = spawnSync(program, [...global, ...args], { env, stdio: 'ignore' });
    if (status === 0) return;
    throw new Error(`tsrunc ${args.join(' ')}: ${readFileSync(join(directory, 'log'), 'utf8')}`);
  };
  for (const [kind, change] of [
    ['default', (config: string) => config],
    ['engine', engineLike],
  ] as const) {
    for (const args of [['/bin/true'], ['/bin/sleep', '1000']]) {
      const path = join(directory, `${kind}-${args.length}`);
      makeBundle(path, args);
      const config = join(path, 'config.json');
      writeFileSync(config, change(readFileSync(config, 'utf8')));
      const id = `called-${process.pid}-${kind}-${args.length}`;
      if (args.length === 1) {
        tsrunc('run', '--bundle', path, id);
        continue;
      }
      const pidFile = join(directory, 'pid');
      tsrunc('create', '--bundle', path, '--pid-file', pidFile, id);
      tsrunc('state', id);
      tsrunc('start', id);
      tsrunc('state', id);
      tsrunc('exec', id, '/bin/true');
      tsrunc('exec', '--detach', '--pid-file', join(directory, 'exec-pid'), id, '/bin/true');
      tsrunc('kill', id, 'KILL');
      while (isAlive(Number(readFileSync(pidFile, 'utf8')))) await delay(5);
      tsrunc('state', id);
      tsrunc('delete', id);
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false; // it is gone
  }
}

/** The functions of the files that OTHER_CGROUPS names. */
async function otherCgroups(): Promise<string[]> {
  const folders = ['internal/cgroups', 'internal/linux'];
  const files = folders.flatMap((folder) =>
    readdirSync(join(root, folder)).map((name) => `${folder}/${name}`),
  );
  const keys: string[] = [];
  for (const file of files) {
    if (!OTHER_CGROUPS.test(file) || file.endsWith('.test.ts')) continue;
    const { code } = await transform(readFileSync(join(root, file), 'utf8'), {
      loader: 'ts',
      format: 'cjs',
      target: 'node26',
    });
    keys.push(
      ...keyFunctions(chunkFunction.head + code + chunkFunction.tail).map(({ key }) => key),
    );
  }
  return keys;
}

await main();
