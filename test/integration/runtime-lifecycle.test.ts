// tsrunc as a program: a container's life from create to delete, as engines go through it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;

function status(id: string): string {
  return JSON.parse(runtime.run(['state', id]).stdout).status;
}

function clean(id: string): void {
  assert.deepEqual(runtime.leftovers(id), []);
}

test('run: output and exit code are those of the program', { skip: needsRoot }, () => {
  const { status, stdout, stderr } = runtime.runScript('echo out; echo err >&2; exit 7');
  assert.deepEqual({ status, stdout, stderr }, { status: 7, stdout: 'out\n', stderr: 'err\n' });
});

test('run: stdin reaches the program', { skip: needsRoot }, () => {
  runtime.configure((config) => {
    config.process.args = ['cat'];
  });
  assert.equal(runtime.run(['run', runtime.newId()], { input: 'hello' }).stdout, 'hello');
});

test('run: nothing is left behind', { skip: needsRoot }, () => {
  const id = runtime.newId();
  runtime.configure();
  const { status: code, error } = runtime.run(['run', id]);
  assert.deepEqual({ code, error }, { code: 0, error: '' });
  clean(id);
});

test('run --keep: a stopped container stays until delete', { skip: needsRoot }, () => {
  const id = runtime.newId();
  runtime.configure();
  assert.equal(runtime.run(['run', '--keep', id]).status, 0);
  assert.equal(status(id), 'stopped');
  assert.equal(runtime.run(['delete', id]).status, 0);
  clean(id);
});

/** Starts `run` and calls `onReady` when the program's first line is there. */
async function runInForeground(
  id: string,
  script: string,
  onReady: (kill: (signal: NodeJS.Signals) => void) => void,
): Promise<{ code: number | null; output: string }> {
  runtime.configure((config) => {
    config.process.args = ['sh', '-c', script];
  });
  const [program = '', ...prefix] = runtime.command;
  const args = [...prefix, '--root', runtime.stateRoot, 'run', '--bundle', runtime.bundle, id];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (text) => {
    if (output === '') onReady((signal) => child.kill(signal));
    output += text;
  });
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, output };
}

test('run: signals are forwarded', { skip: needsRoot }, async () => {
  const id = runtime.newId();
  const script = 'trap "echo got; exit 3" TERM; echo ready; sleep 100 & wait';
  const result = await runInForeground(id, script, (kill) => kill('SIGTERM'));
  assert.deepEqual(result, { code: 3, output: 'ready\ngot\n' });
  clean(id);
});

test('run: a program killed by a signal gives 128 + signal', { skip: needsRoot }, async () => {
  const id = runtime.newId();
  const { code } = await runInForeground(id, 'echo ready; exec sleep 100', () => {
    assert.equal(runtime.run(['kill', id, 'SIGKILL']).status, 0);
  });
  assert.equal(code, 137);
  clean(id);
});

test('create, start, kill, delete: states on the way', { skip: needsRoot }, () => {
  const id = runtime.newId();
  runtime.configure((config) => {
    config.process.args = ['sh', '-c', 'touch /started; exec sleep 1000'];
    config.annotations = { 'org.example.a': 'b' };
  });
  const pidFile = join(runtime.directory, 'pid');
  const created = ['create', '--bundle', runtime.bundle, '--pid-file', pidFile, id];
  assert.equal(runtime.runDetached(created).status, 0);
  const pid = Number(readFileSync(pidFile, 'latin1'));
  assert.equal(String(pid), readFileSync(pidFile, 'latin1'), 'decimal, no newline');

  const state = JSON.parse(runtime.run(['state', id]).stdout);
  assert.match(state.created, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
  assert.deepEqual(state, {
    ociVersion: '1.3.0',
    id,
    pid,
    status: 'created',
    bundle: runtime.bundle,
    rootfs: runtime.rootfs,
    created: state.created,
    annotations: { 'org.example.a': 'b' },
    owner: '',
  });
  assert.equal(existsSync(join(runtime.rootfs, 'started')), false, 'nothing runs before start');
  assert.match(readlinkSync(`/proc/${pid}/exe`), /memfd:executable/, 'not the host binary');

  assert.equal(runtime.run(['start', id]).status, 0);
  assert.equal(status(id), 'running');
  assert.equal(
    runtime.run(['start', id]).error,
    `${id}: cannot start an already running container`,
  );
  assert.equal(
    runtime.run(['delete', id]).error,
    `cannot delete container ${id} that is not stopped: running: kill it first, or use --force`,
  );
  assert.equal(runtime.run(['kill', id, 'KILL']).status, 0);
  for (let tries = 0; status(id) !== 'stopped' && tries < 100; tries++);
  assert.equal(status(id), 'stopped');
  assert.equal(runtime.run(['kill', id]).error, `${id}: container not running`);
  assert.equal(
    runtime.run(['start', id]).error,
    `${id}: cannot start a container that has stopped`,
  );
  assert.equal(runtime.run(['delete', id]).status, 0);
  assert.equal(runtime.run(['state', id]).error, `${id}: container does not exist`);
  clean(id);
});

test('delete: a created container is killed', { skip: needsRoot }, () => {
  const id = runtime.newId();
  runtime.configure();
  assert.equal(runtime.runDetached(['create', id]).status, 0);
  assert.equal(runtime.run(['delete', id]).status, 0);
  clean(id);
});

test('delete --force: a running container, a paused one, none at all', { skip: needsRoot }, () => {
  const running = runtime.newId();
  runtime.startSleeping(running);
  assert.equal(runtime.run(['delete', '--force', running]).status, 0);
  clean(running);

  const paused = runtime.newId();
  runtime.startSleeping(paused);
  assert.equal(runtime.run(['pause', paused]).status, 0);
  assert.equal(status(paused), 'paused');
  assert.equal(runtime.run(['delete', '--force', paused]).status, 0);
  clean(paused);

  assert.equal(runtime.run(['delete', '--force', 'never-was']).status, 0);
});

test('delete: without a pid namespace all processes end', { skip: needsRoot }, () => {
  const id = runtime.newId();
  runtime.startSleeping(
    id,
    (config) => {
      config.linux.namespaces = config.linux.namespaces.filter(
        ({ type }: { type: string }) => type !== 'pid',
      );
    },
    'sleep 2000 &',
  );
  assert.equal(runtime.run(['delete', '--force', id]).status, 0);
  clean(id);
});

test('kill: SIGKILL ends a paused container', { skip: needsRoot }, () => {
  const id = runtime.newId();
  runtime.startSleeping(id);
  assert.equal(runtime.run(['pause', id]).status, 0);
  assert.equal(runtime.run(['kill', id, 'KILL']).error, '');
  for (let tries = 0; status(id) !== 'stopped' && tries < 100; tries++);
  assert.equal(status(id), 'stopped');
  assert.equal(runtime.run(['delete', id]).error, '');
  clean(id);
});

test('kill: SIGKILL reaches what has outlived init', { skip: needsRoot }, () => {
  const id = runtime.newId();
  const withoutPidNamespace = (config: Config): void => {
    config.linux.namespaces = config.linux.namespaces.filter(
      ({ type }: { type: string }) => type !== 'pid',
    );
  };
  runtime.startSleeping(id, withoutPidNamespace, 'sleep 2000 &');
  const processes = (): number[] => JSON.parse(runtime.run(['ps', '-f', 'json', id]).stdout) ?? [];
  assert.equal(processes().length, 2);
  assert.equal(runtime.run(['kill', id, 'TERM']).error, '');
  for (let tries = 0; status(id) !== 'stopped' && tries < 100; tries++);
  assert.equal(processes().length, 1);
  assert.equal(runtime.run(['kill', id, 'KILL']).error, '');
  for (let tries = 0; processes().length > 0 && tries < 100; tries++);
  assert.deepEqual(processes(), []);
  assert.equal(runtime.run(['kill', id, 'KILL']).error, `${id}: container not running`);
  runtime.run(['delete', id]);
  clean(id);
});

test('pause and resume', { skip: needsRoot }, () => {
  const id = runtime.newId();
  runtime.startSleeping(id);
  assert.equal(runtime.run(['resume', id]).error, `${id}: container not paused`);
  assert.equal(runtime.run(['pause', id]).status, 0);
  assert.equal(status(id), 'paused');
  assert.equal(
    runtime.run(['start', id]).error,
    `${id}: cannot start a container in the paused state`,
  );
  assert.equal(runtime.run(['resume', id]).status, 0);
  assert.equal(status(id), 'running');
  runtime.run(['delete', '--force', id]);
});

test('a container that is paused before its start: no command waits for it', {
  skip: needsRoot,
}, () => {
  const id = runtime.newId();
  runtime.configure();
  assert.equal(runtime.runDetached(['create', id]).error, '');
  assert.equal(runtime.run(['pause', id]).error, '');
  assert.equal(status(id), 'paused');
  const refused: readonly (readonly [string[], string])[] = [
    [['start', id], `${id}: cannot start a container in the paused state`],
    [
      ['exec', id, 'true'],
      `${id}: cannot exec in a paused container: resume it first, or use --ignore-paused`,
    ],
    [['checkpoint', id], `container ${id} cannot be checkpointed in created state`],
    [
      ['delete', id],
      `cannot delete container ${id} that is not stopped: paused: kill it first, or use --force`,
    ],
  ];
  for (const [args, error] of refused) assert.equal(runtime.run(args).error, error);
  assert.equal(runtime.run(['delete', '--force', id]).error, '');
  assert.deepEqual(runtime.leftovers(id), []);
});

test('list: table, json and ids', { skip: needsRoot }, () => {
  const root = join(runtime.directory, 'list-state');
  mkdirSync(root);
  const list = (...args: string[]) =>
    runtime.run(['--root', root, 'list', ...args].slice(0)).stdout;
  assert.equal(list('--format', 'json'), 'null\n');
  const id = runtime.newId();
  runtime.configure();
  runtime.runDetached(['--root', root, 'create', id]);
  const [entry, ...others] = JSON.parse(list('--format', 'json'));
  assert.deepEqual(others, []);
  assert.equal(entry.id, id);
  assert.equal(entry.status, 'created');
  assert.equal(entry.owner, 'root');
  assert.equal(list('-q'), `${id}\n`);
  assert.match(
    list(),
    new RegExp(`^ID +PID +STATUS +BUNDLE +CREATED +OWNER\\n${id} +\\d+ +created`),
  );
  runtime.run(['--root', root, 'delete', id]);
});

test('ps: pids as the caller sees them', { skip: needsRoot }, () => {
  const id = runtime.newId();
  runtime.startSleeping(id);
  const { pid } = JSON.parse(runtime.run(['state', id]).stdout);
  assert.equal(runtime.run(['ps', '--format', 'json', id]).stdout, `[${pid}]\n`);
  assert.match(
    runtime.run(['ps', id]).stdout,
    new RegExp(`^UID +PID .*\\n\\S+ +${pid} .*sleep 1000\\n$`),
  );
  runtime.run(['delete', '--force', id]);
});

test('events --stats and update', { skip: needsRoot }, () => {
  const id = runtime.newId();
  runtime.startSleeping(id);
  assert.equal(runtime.run(['update', '--memory', '64m', '--pids-limit', '20', id]).status, 0);
  const { type, data } = JSON.parse(runtime.run(['events', '--stats', id]).stdout);
  assert.equal(type, 'stats');
  assert.equal(data.memory.usage.limit, 64 * 1024 * 1024);
  assert.deepEqual(data.pids, { current: 1, limit: 20 });
  const input = JSON.stringify({ pids: { limit: 30 } });
  assert.equal(runtime.run(['update', '--resources', '-', id], { input }).status, 0);
  assert.equal(JSON.parse(runtime.run(['events', '--stats', id]).stdout).data.pids.limit, 30);
  runtime.run(['delete', '--force', id]);
});
