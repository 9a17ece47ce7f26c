// tsrunc: terminals, by console socket and in the foreground.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { readToEnd, withConsole } from '../fixtures/console.ts';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };
const DEADLINE_MS = 300_000;

function withTerminal(script: string, change: (config: Config) => void = () => {}): void {
  runtime.configure((config) => {
    config.process.terminal = true;
    config.process.consoleSize = { height: 33, width: 77 };
    config.process.args = ['sh', '-c', script];
    change(config);
  });
}

const SCRIPT =
  'tty; stty size; stat -c "%F %u %t" /dev/console; readlink /proc/self/fd/0; ls -1 /dev/pts; echo x > /dev/console; echo y > /dev/tty';

test('create: the master comes through the console socket', options, async () => {
  const id = runtime.newId();
  withTerminal(SCRIPT);
  using master = await withConsole(runtime, (path) => ['create', '--console-socket', path, id]);
  assert.equal(runtime.run(['start', id]).error, '');
  const text = (await readToEnd(master)).replaceAll('\r', '');
  assert.equal(text, '/dev/pts/0\n33 77\ncharacter special file 0 88\n/dev/pts/0\n0\nptmx\nx\ny\n');
  runtime.run(['delete', '--force', id]);
});

test('create: the terminal belongs to the user', options, async () => {
  const id = runtime.newId();
  withTerminal('stat -c %u /dev/pts/0', (config) => {
    config.process.user = { uid: 1000, gid: 1000 };
  });
  using master = await withConsole(runtime, (path) => ['create', '--console-socket', path, id]);
  assert.equal(runtime.run(['start', id]).error, '');
  assert.equal(await readToEnd(master), '1000\r\n');
  runtime.run(['delete', '--force', id]);
});

test('create: a terminal in a user namespace', options, async () => {
  const id = runtime.newId();
  withTerminal('tty; echo x > /dev/console', (config) => {
    config.linux.namespaces.push({ type: 'user' });
    config.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
    config.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
  });
  using master = await withConsole(runtime, (path) => ['create', '--console-socket', path, id]);
  assert.equal(runtime.run(['start', id]).error, '');
  assert.equal(await readToEnd(master), '/dev/pts/0\r\nx\r\n');
  runtime.run(['delete', '--force', id]);
});

test('exec --tty with a console socket', options, async () => {
  const id = runtime.newId();
  runtime.startSleeping(id);
  using master = await withConsole(runtime, (path) => [
    'exec',
    '--detach',
    '--tty',
    '--console-socket',
    path,
    id,
    'tty',
  ]);
  assert.equal(await readToEnd(master), '/dev/pts/0\r\n');
  runtime.run(['delete', '--force', id]);
});

/** Runs a command of the runtime on a terminal of its own, by script(1). */
function onTerminal(args: string[], input: string): { status: number | null; stdout: string } {
  const [program = '', ...prefix] = runtime.command;
  const words = [program, ...prefix, '--root', runtime.stateRoot, ...args];
  const command = words.map((word) => `'${word}'`).join(' ');
  const { status, stdout } = spawnSync('script', ['-qefc', command, '/dev/null'], {
    input,
    encoding: 'utf8',
    cwd: runtime.bundle,
    timeout: 30_000,
  });
  return { status, stdout };
}

const needsScript = spawnSync('script', ['--version']).status === 0 ? false : 'no script(1)';

test('run in the foreground: the terminal is proxied', { skip: needsRoot || needsScript }, () => {
  const id = runtime.newId();
  withTerminal('read line; echo "got $line"; exit 5');
  const { status, stdout } = onTerminal(['run', id], 'hello\n');
  assert.equal(status, 5);
  assert.match(stdout, /got hello/);
  assert.deepEqual(runtime.leftovers(id), []);
});

test('exec --tty in the foreground: the terminal is proxied', {
  skip: needsRoot || needsScript,
}, () => {
  const id = runtime.newId();
  runtime.startSleeping(id);
  const { status, stdout } = onTerminal(['exec', '--tty', id, 'sh', '-c', 'tty; exit 6'], '');
  assert.equal(status, 6);
  assert.match(stdout, /\/dev\/pts\/0/);
  runtime.run(['delete', '--force', id]);
});

/**
 * Runs a script by `exec --tty`, with a pipe for input, which gets its bytes when the script has said `ready`: a terminal that is
 * not raw yet would throw away all but the first 4095 of a line.
 */
async function execWithInput(id: string, script: string, input: string) {
  const [program = '', ...prefix] = runtime.command;
  const args = ['--root', runtime.stateRoot, 'exec', '--tty', id, 'sh', '-c', script];
  const child = spawn(program, [...prefix, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.on('error', () => {}); // EPIPE, when it ends before it has read all
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const wasReady = stdout.includes('ready');
    stdout += text;
    if (!wasReady && stdout.includes('ready')) child.stdin.end(input);
  });
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, stdout };
}

test('exec --tty in the foreground: input that nobody reads does not keep it from ending', {
  ...options,
  timeout: DEADLINE_MS,
}, async () => {
  const id = runtime.newId();
  runtime.startSleeping(id);
  const input = 'x'.repeat(60_000); // far more than a terminal holds
  const script = 'stty raw -echo; echo ready; sleep 0.5; exit 6';
  assert.deepEqual(await execWithInput(id, script, input), { status: 6, stdout: 'ready\n' });
  runtime.run(['delete', '--force', id]);
});

test('exec --tty in the foreground: all input arrives at one who reads slowly', {
  ...options,
  timeout: DEADLINE_MS,
}, async () => {
  const id = runtime.newId();
  runtime.startSleeping(id);
  const script = 'stty raw -echo; echo ready; sleep 0.3; head -c 60000 | md5sum';
  const input = Array.from({ length: 10_000 }, (_, i) => `${i % 10}`.repeat(6)).join('');
  const digest = createHash('md5').update(input).digest('hex');
  assert.deepEqual(await execWithInput(id, script, input), {
    status: 0,
    stdout: `ready\n${digest}  -\n`,
  });
  runtime.run(['delete', '--force', id]);
});

test('a console socket without a terminal is refused', options, () => {
  runtime.configure();
  assert.equal(
    runtime.runDetached(['create', '--console-socket', '/nope', runtime.newId()]).error,
    'cannot use console socket if tsrunc will not detach or allocate tty: set process.terminal to true, or leave --console-socket out',
  );
});
