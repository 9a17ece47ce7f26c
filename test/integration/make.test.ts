// The Makefile's promises to a user: where `make install` puts what, and what `make demo` says to somebody who is not root.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const root = join(import.meta.dirname, '../..');
const dir = mkdtempSync(join(tmpdir(), 'make-'));
after(() => rmSync(dir, { recursive: true }));
const isBuilt = existsSync(join(root, 'dist/bin/tsrunc'));
// `make test` tells the makes below it that they are such.
const { MAKEFLAGS, MAKELEVEL, ...env } = process.env;
/** What shells look for, and a line of it. */
const COMPLETIONS = [
  ['bash-completion/completions/tsctr', 'complete -F _tsctr tsctr'],
  ['zsh/site-functions/_tsctr', '#compdef tsctr'],
  ['fish/vendor_completions.d/tsctr.fish', 'complete -c tsctr'],
] as const;
const programs = ['containerd-shim-tsrunc-v2', 'tscontainerd', 'tsrunc'];

test('make install puts three programs, the client, completions, the unit and licences below DESTDIR and PREFIX', {
  skip: isBuilt ? false : 'the programs are not built: run make',
}, () => {
  const args = ['--silent', 'install', 'PREFIX=/opt/stack', `DESTDIR=${dir}`];
  const make = spawnSync('make', args, { cwd: root, env, encoding: 'utf8' });
  assert.equal(make.status, 0, make.stderr);
  assert.deepEqual(readdirSync(dir), ['opt']);
  const bin = join(dir, 'opt/stack/bin');
  assert.deepEqual(readdirSync(bin).sort(), [...programs, 'tsctr'].sort());
  assert.equal(readlinkSync(join(bin, 'tsctr')), 'tscontainerd');
  for (const [file, line] of COMPLETIONS) {
    assert.ok(readFileSync(join(dir, 'opt/stack/share', file), 'utf8').includes(line), file);
  }
  for (const name of programs) assert.equal(statSync(join(bin, name)).mode & 0o777, 0o755);
  assert.deepEqual(readdirSync(join(dir, 'opt/stack')), ['bin', 'lib', 'share']);
  const unit = readFileSync(join(dir, 'opt/stack/lib/systemd/system/tscontainerd.service'), 'utf8');
  for (const line of [
    'ExecStart=/opt/stack/bin/tscontainerd',
    'Type=notify',
    'Delegate=yes',
    'KillMode=process',
  ]) {
    assert.ok(unit.split('\n').includes(line), line);
  }
  const licences = readFileSync(join(dir, 'opt/stack/share/doc/tscontainerd/LICENSES.txt'), 'utf8');
  for (const name of ['@grpc/grpc-js', 'koffi', 'node-linux-']) {
    assert.match(licences, new RegExp(`^${name}`, 'm'));
  }
  const run = spawnSync(join(bin, 'tsrunc'), ['--version'], { env: {}, encoding: 'utf8' });
  assert.match(run.stdout, /^tsrunc version /);
  const client = spawnSync(join(bin, 'tsctr'), ['--version'], { env: {}, encoding: 'utf8' });
  assert.match(client.stdout, /^tsctr [0-9]/);
});

test('make demo says to somebody who is not root what to do, before it does anything', {
  skip: process.getuid?.() === 0 ? false : 'another user can be had by root alone',
}, () => {
  const nobody = { uid: 65534, gid: 65534 };
  const make = spawnSync('make', ['demo'], { cwd: root, env, encoding: 'utf8', ...nobody });
  assert.equal(make.stdout, '');
  const [sentence] = make.stderr.split('\n');
  assert.equal(
    sentence,
    'Namespaces, mounts and cgroups need root here: run it as "sudo make demo".',
  );
  assert.notEqual(make.status, 0);
});
