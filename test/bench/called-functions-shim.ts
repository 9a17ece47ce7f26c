// node test/bench/called-functions-shim.ts: writes build/called-functions-shim.json, the functions that the shim calls in
// the life of usual containers, pods and execs. The build compiles those ahead (build/code-cache.ts). Others are compiled when
// they are called, so a list that is out of date costs time and nothing else. Needs root and the built tsrunc.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CriNode } from '../fixtures/cri.ts';
import { PlayedDaemon, until } from '../fixtures/shim.ts';
import { buildRecording, recordedKeys } from './function-recorder.ts';

const binaries = join(import.meta.dirname, '../../dist/bin');
const output = join(import.meta.dirname, '../../build/called-functions-shim.json');

/** Stands before the shim: each of its processes writes down what it called when it ends. */
const RECORDER = `{
const { Session } = process.getBuiltinModule('node:inspector');
const { writeFileSync } = process.getBuiltinModule('node:fs');
const directory = process.env.RECORD_DIRECTORY;
const session = new Session();
session.connect();
session.post('Profiler.enable');
session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
process.on('exit', () => session.post('Profiler.takePreciseCoverage', (error, { result }) => {
  const text = JSON.stringify(result.filter(({ url }) => /^[^/:]+\\.js$/.test(url)));
  writeFileSync(directory + '/' + process.pid + '.json', text);
}));
}
`;
const SIGKILL = 9;

const directory = mkdtempSync(join(tmpdir(), 'called-functions-shim-'));
try {
  const program = join(directory, 'containerd-shim-tsrunc-v2');
  const chunks = await buildRecording('containerd-shim-tsrunc-v2', RECORDER, program, 'before');
  const calls = join(directory, 'calls');
  mkdirSync(calls);
  for (const runtime of ['tsrunc', 'in-process'] as const) {
    await live(program, runtime, { RECORD_DIRECTORY: calls });
    await livePod(runtime, {
      RECORD_DIRECTORY: calls,
      PATH: [directory, binaries, process.env['PATH']].join(':'),
    });
  }
  const called = recordedKeys(calls, chunks);
  writeFileSync(output, `${JSON.stringify([...called].sort(), null, 2)}\n`);
  console.log(`${called.size} functions`);
} finally {
  rmSync(directory, { recursive: true });
}

/** A container with output to files, two execs, a kill, and the end. */
async function live(
  program: string,
  runtime: 'tsrunc' | 'in-process',
  env: Readonly<Record<string, string>>,
): Promise<void> {
  await using daemon = await PlayedDaemon.start();
  const shim = await daemon.shim(['/bin/sleep', '1000'], { runtime, program, env });
  const stdio = { stdout: `file://${join(daemon.directory, 'out')}` };
  await shim.create(stdio);
  await shim.task.state({ id: shim.id });
  const ended = shim.wait();
  await shim.start();
  for (const name of ['first', 'second']) {
    await shim.addExec(name, ['/bin/true'], stdio);
    const execEnded = shim.wait(name);
    await shim.start(name);
    await execEnded;
    await shim.task.delete({ id: shim.id, execId: name });
  }
  await shim.task.pids({ id: shim.id });
  await shim.task.stats({ id: shim.id });
  await shim.task.kill({ id: shim.id, signal: SIGKILL });
  await ended;
  await until(() => daemon.topics.includes('/tasks/exit'), 'the event of the exit');
  await shim.finish();
}

/** A pod with a container that has a log, and a probe. */
async function livePod(
  runtime: 'tsrunc' | 'in-process',
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const table = '[plugins."io.containerd.grpc.v1.cri".containerd';
  await using node = await CriNode.start({
    env,
    cri: [
      `${table}]`,
      'default_runtime_name = "recorded"',
      `${table}.runtimes.recorded]`,
      'runtime_type = "io.containerd.tsrunc.v2"',
      `${table}.runtimes.recorded.options]`,
      `InProcess = ${runtime === 'in-process'}`,
    ].join('\n'),
  });
  const { pod, id } = await node.run('echo a line; exec sleep 1000');
  await node.runtime.execSync({ containerId: id, cmd: ['/bin/true'], timeout: 60n });
  await node.remove(pod);
}
