// A small program built as each of the three executables is: what it may rely on, and what the environment cannot do to it.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { binaries } from './binaries.ts';
import { baseNode, koffiAddon } from './platform.ts';
import { makeSea } from './sea.ts';

const root = join(import.meta.dirname, '..');
const dir = mkdtempSync(join(tmpdir(), 'sea-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const code = `
const { getRawAsset, isSea } = require('node:sea');
if (process.argv[2] === 'wait') { console.log('waiting'); setTimeout(() => {}, 20_000); }
else console.log(JSON.stringify({ sea: isSea(), addon: getRawAsset('koffi.node').byteLength, args: process.argv.slice(2),
  options: process.execArgv, filename: __filename }));
`;
const node = baseNode(root, 'x64');
const skip = process.arch === 'x64' ? false : 'the executables under test are for x64';

function make(name: string): string {
  const binary = binaries[name];
  assert.ok(binary);
  const path = join(dir, name);
  const assets = { 'koffi.node': koffiAddon(root, 'x64') };
  makeSea({ binary, code, node, cacheMaker: [node], hostNode: node, assets }, path);
  return path;
}

const program = skip === false ? make('tsrunc') : '';

function start(args: string[], env: NodeJS.ProcessEnv): { stdout: string; stderr: string } {
  const run = spawnSync(program, args, { env, encoding: 'utf8' });
  assert.equal(run.status, 0, run.stderr);
  return { stdout: run.stdout, stderr: run.stderr };
}

test('the executable has the program, the addon and its options, and is silent about itself', {
  skip,
}, () => {
  const { stdout, stderr } = start(['run', '--inspect', '-v'], {});
  // A code cache that V8 refuses, because it was made under other options, is reported on stderr.
  assert.equal(stderr, '');
  const seen = JSON.parse(stdout);
  assert.equal(seen.sea, true);
  assert.equal(seen.addon, statSync(koffiAddon(root, 'x64')).size);
  assert.deepEqual(seen.args, ['run', '--inspect', '-v']);
  assert.deepEqual(seen.options, [
    ...(binaries['tsrunc']?.v8Options ?? []),
    ...(binaries['tsrunc']?.nodeOptions ?? []),
  ]);
  assert.equal(statSync(program).mode & 0o777, 0o755);
});

const marker = join(dir, 'was-run');
const foreign = join(dir, 'foreign.cjs');
writeFileSync(foreign, `require('node:fs').writeFileSync(${JSON.stringify(marker)}, '');`);
const openssl = join(dir, 'openssl.cnf');
writeFileSync(
  openssl,
  'openssl_conf = a\n[a]\nproviders = b\n[b]\nevil = c\n[c]\nmodule = /nonexistent.so\nactivate = 1\n',
);
const hostile: [string, NodeJS.ProcessEnv][] = [
  ['NODE_OPTIONS=--require FILE', { NODE_OPTIONS: `--require ${foreign}` }],
  ['NODE_OPTIONS=--no-such-option', { NODE_OPTIONS: '--no-such-option' }],
  ['OPENSSL_CONF=FILE', { OPENSSL_CONF: openssl }],
];
for (const [name, env] of hostile) {
  test(`the environment cannot bring in code: ${name}`, { skip }, () => {
    const { stdout, stderr } = start([], env);
    assert.equal(stderr, '');
    assert.equal(JSON.parse(stdout).sea, true);
    assert.equal(existsSync(marker), false);
  });
}

test('SIGUSR1 does not open the debugger', { skip }, async () => {
  const child = spawn(program, ['wait'], { env: {}, stdio: ['ignore', 'pipe', 'pipe'] });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const sockets = () => {
    const fds = readdirSync(`/proc/${child.pid}/fd`);
    return fds.filter((fd) => readlinkSync(`/proc/${child.pid}/fd/${fd}`).startsWith('socket:'));
  };
  const before = sockets();
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  const caught = BigInt(`0x${/SigCgt:\t([0-9a-f]+)/.exec(status)?.[1]}`);
  const SIGUSR1 = 10n;
  assert.equal((caught >> (SIGUSR1 - 1n)) & 1n, 0n, 'a handler for SIGUSR1 is installed');
  child.kill('SIGUSR1');
  assert.deepEqual(sockets(), before);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
});

test('a fixed hash seed is for tsrunc alone', () => {
  const withSeed = Object.entries(binaries).filter(([, binary]) => {
    return binary.v8Options.some((option) => /hash-seed|no-rehash/.test(option));
  });
  assert.deepEqual(
    withSeed.map(([name]) => name),
    ['tsrunc'],
  );
});
