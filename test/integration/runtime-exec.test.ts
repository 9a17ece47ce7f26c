// tsrunc exec: every flag that there is.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readlinkSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { cgroupsNamed, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
const runtime = fixture as RuntimeFixture;
const id = fixture?.newId('exec') ?? '';
before(() => {
  if (needsRoot !== false) return;
  runtime.startSleeping(id, (config) => {
    config.process.env.push('FROM_CONFIG=1');
  });
});
after(() => fixture?.[Symbol.dispose]());

const options = { skip: needsRoot };
const exec = (...args: string[]) => runtime.run(['exec', ...args]);
const sh = (script: string, ...flags: string[]) => exec(...flags, id, 'sh', '-c', script);

test('exec: output and exit code are those of the program', options, () => {
  const { status, stdout, stderr } = sh('echo out; echo err >&2; exit 7');
  assert.deepEqual({ status, stdout, stderr }, { status: 7, stdout: 'out\n', stderr: 'err\n' });
});

test('exec: a program killed by a signal gives 128 + signal', options, () => {
  assert.equal(sh('kill -TERM $$').status, 143);
});

test('exec: the process is in the namespaces and cgroups of the container', options, () => {
  const { pid } = JSON.parse(runtime.run(['state', id]).stdout);
  const script =
    'for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup';
  const inside = sh(script).stdout;
  const namespaces = ['pid', 'net', 'ipc', 'uts', 'mnt', 'cgroup'].map(
    (name) => `${readlinkSync(`/proc/${pid}/ns/${name}`)}\n`,
  );
  // In a cgroup namespace paths begin at the container's cgroup.
  const cgroup = exec(id, 'cat', '/proc/1/cgroup').stdout;
  assert.equal(inside, namespaces.join('') + cgroup);
  if (namespaces[5] === `${readlinkSync('/proc/self/ns/cgroup')}\n`) {
    assert.equal(cgroup, readFileSync(`/proc/${pid}/cgroup`, 'utf8'));
  } else assert.match(cgroup, /^0::\/$/m);
});

test('exec --env and --cwd', options, () => {
  const { stdout } = sh(
    'pwd; echo $FROM_CONFIG $A "$B"',
    '--cwd',
    '/tmp',
    '-e',
    'A=1',
    '--env',
    'B=x y',
  );
  assert.equal(stdout, '/tmp\n1 1 x y\n');
});

test('exec --user and --additional-gids', options, () => {
  const script = 'id -u; id -g; id -G';
  assert.equal(sh(script, '--user', '1000:50').stdout, '1000\n50\n50\n');
  assert.equal(sh(script, '-u', '1000', '-g', '7', '-g', '9').stdout, '1000\n0\n0 7 9\n');
});

test('exec --user: what is no plain id is refused', options, () => {
  for (const user of ['', ' 5', '+5', '5x', '-1', '0x0', '4294967296']) {
    const { status, error } = sh('id -u', `--user=${user}`);
    assert.equal(status, 255);
    assert.match(
      error,
      new RegExp(`^--user ${JSON.stringify(user).replace('+', '\\+')} is not uid`),
    );
  }
  assert.equal(sh('id -u', '--user', '2147483648').stdout, '2147483648\n');
});

test('exec --cap: bounding, effective and permitted, never inheritable', options, () => {
  const caps = (text: string, name: string) =>
    BigInt(`0x${new RegExp(`Cap${name}:\\s*(\\w+)`).exec(text)?.[1]}`);
  const NET_RAW = 1n << 13n;
  const without = sh('cat /proc/self/status').stdout;
  assert.equal(caps(without, 'Eff') & NET_RAW, 0n);
  const withCap = sh('cat /proc/self/status', '--cap', 'CAP_NET_RAW').stdout;
  for (const name of ['Bnd', 'Eff', 'Prm']) assert.equal(caps(withCap, name) & NET_RAW, NET_RAW);
  assert.equal(caps(withCap, 'Inh'), 0n);
});

test('exec --no-new-privs', options, () => {
  const nnp = (...flags: string[]) =>
    /NoNewPrivs:\s*(\d)/.exec(sh('cat /proc/self/status', ...flags).stdout)?.[1];
  assert.equal(nnp('--no-new-privs'), '1');
  assert.equal(nnp('--no-new-privs=false'), '0');
});

test("exec --process: all of the process is the file's", options, () => {
  const file = join(runtime.directory, 'process.json');
  const process = {
    user: { uid: 5, gid: 6, umask: 0o77 },
    args: ['sh', '-c', 'id -u; id -g; umask; pwd; env | sort'],
    env: ['PATH=/bin', 'HOME=/x'],
    cwd: '/etc',
  };
  writeFileSync(file, JSON.stringify(process));
  const { stdout, status } = exec('--process', file, id);
  assert.equal(status, 0);
  assert.equal(stdout, '5\n6\n0077\n/etc\nHOME=/x\nPATH=/bin\nPWD=/etc\nSHLVL=1\n');
});

test(
  "exec --process: what the file leaves out is as the container's process has it",
  options,
  () => {
    const file = join(runtime.directory, 'short.json');
    const args = ['sh', '-c', 'cat /proc/self/oom_score_adj; umask; grep Cap /proc/self/status'];
    const short = { user: { uid: 0, gid: 0 }, args, env: ['PATH=/bin'], cwd: '/' };
    writeFileSync(file, JSON.stringify(short));
    assert.equal(exec('--process', file, id).stdout, exec(id, ...args).stdout);
  },
);

test('exec: CPU affinity of the process', options, () => {
  const file = join(runtime.directory, 'affinity.json');
  const args = ['grep', 'Cpus_allowed_list', '/proc/self/status'];
  const execCPUAffinity = { initial: '0', final: '0' };
  writeFileSync(
    file,
    JSON.stringify({ args, cwd: '/', user: { uid: 0, gid: 0 }, execCPUAffinity }),
  );
  const { stdout, error } = exec('--process', file, id);
  assert.deepEqual({ stdout, error }, { stdout: 'Cpus_allowed_list:\t0\n', error: '' });
});

test('exec --detach and --pid-file', options, () => {
  const pidFile = join(runtime.directory, 'exec.pid');
  const args = ['exec', '--detach', '--pid-file', pidFile, id, 'sleep', '500'];
  assert.equal(runtime.runDetached(args).status, 0);
  const pid = Number(readFileSync(pidFile, 'latin1'));
  assert.equal(readFileSync(`/proc/${pid}/cmdline`, 'latin1'), ['sleep', '500', ''].join('\0'));
  assert.deepEqual(
    JSON.parse(runtime.run(['ps', '-f', 'json', id]).stdout).filter((each: number) => each === pid),
    [pid],
  );
  process.kill(pid, 'SIGKILL');
});

test('exec --preserve-fds: exactly the fds that were passed', options, () => {
  // The shell opens fd 3 and 4 for tsrunc.
  const [program = '', ...prefix] = runtime.command;
  const tsrunc = [program, ...prefix, '--root', runtime.stateRoot].join(' ');
  const inner = `exec 3</etc/hostname 4</etc/hostname; ${tsrunc} exec --preserve-fds 2 ${id} ls /proc/self/fd`;
  const listing = runWithShell(inner);
  assert.equal(listing.stdout, '0\n1\n2\n3\n4\n5\n', 'the last one is of ls itself');
  const missing = runWithShell(`exec 3</etc/hostname; ${tsrunc} exec --preserve-fds 2 ${id} true`);
  assert.equal(missing.status, 255);
  assert.match(missing.stderr, /unable to stat preserved fd 4 \(2 of 2\): EBADF/);
});

function runWithShell(script: string) {
  const shell = new RuntimeFixture(['/bin/sh', '-c', script, 'sh']);
  try {
    return shell.run([]);
  } finally {
    shell[Symbol.dispose]();
  }
}

test("exec --cgroup: an existing cgroup below the container's", options, () => {
  const cgroups = cgroupsNamed(id);
  const cgroup = cgroups.find((path) => path.startsWith('/sys/fs/cgroup/pids/')) ?? cgroups[0];
  assert.ok(cgroup);
  const sub = join(cgroup, 'sub');
  mkdirSync(sub);
  try {
    const controller = cgroup.startsWith('/sys/fs/cgroup/pids/') ? 'pids:' : '';
    const lines = sh('cat /proc/self/cgroup', '--cgroup', `${controller}sub`).stdout;
    assert.match(lines, new RegExp(`:pids:.*/${id}/sub\\n|0::(?:.*/${id})?/sub\\n`));
    assert.equal(
      sh('true', '--cgroup', '../x').error,
      '--cgroup "../x": "../x" is not below the cgroup of the container',
    );
    const missing = sh('cat /proc/self/cgroup', '--cgroup', `${controller}nope`);
    assert.equal(missing.stdout, '', 'nothing runs without the limits of the cgroup');
    assert.match(missing.error, /^open cgroup \/sys.*\/nope(\/tasks)?: ENOENT/);
  } finally {
    rmdirSync(sub);
  }
});

test('exec: a paused container refuses, --ignore-paused does not', options, () => {
  assert.equal(runtime.run(['pause', id]).status, 0);
  try {
    assert.equal(
      exec(id, 'true').error,
      `${id}: cannot exec in a paused container: resume it first, or use --ignore-paused`,
    );
  } finally {
    runtime.run(['resume', id]);
  }
});

const FAILURES: [string, string[], string][] = [
  [
    'a program that is not in PATH',
    ['nope'],
    'exec: "nope": executable file not found in $PATH (/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin): ENOENT (no such file or directory)',
  ],
  [
    'a path that is not there',
    ['/nope'],
    'exec: "/nope": stat /nope: ENOENT (no such file or directory)',
  ],
  [
    'a file that is not executable',
    ['/etc/passwd'],
    'exec: "/etc/passwd": may not be executed by the process\'s user: EACCES (permission denied): make it executable in the image (chmod +x), and its directories accessible',
  ],
];
for (const [what, args, message] of FAILURES) {
  test(`exec of ${what}`, options, () => {
    const { status, error, stderr } = exec(id, ...args);
    assert.deepEqual(
      { status, error, stderr },
      { status: 255, error: message, stderr: `${message}\n` },
    );
  });
}

test('exec: no command is an error', options, () => {
  const { status, error } = exec(id);
  assert.equal(status, 255);
  assert.equal(
    error,
    'process args cannot be empty: name a command after the container id, or use --process',
  );
});
