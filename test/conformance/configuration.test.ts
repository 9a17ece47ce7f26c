// The configuration file beside real containerd: what `config default`, `config dump` and `config migrate` print, and that
// the files which containerd generates are read without a warning. What differs on purpose is listed here.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parse, type TomlTable } from 'smol-toml';
import { peer } from '../peers/index.ts';

const program = join(import.meta.dirname, '../../cmd/tscontainerd/main.ts');
const skip = peer('containerd-2.1').skip;

function ours(args: readonly string[]): { stdout: string; stderr: string } {
  const { stdout, stderr, status } = spawnSync(process.execPath, [program, ...args], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  return { stdout, stderr };
}

function theirs(kind: 'containerd-2.1' | 'containerd-1.6', args: readonly string[]): string {
  const { path, env } = peer(kind);
  const { stdout, stderr, status } = spawnSync(path, args, { env, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout;
}

function fileWith(context: TestContext, text: string, more: Record<string, string> = {}): string {
  const directory = mkdtempSync(join(tmpdir(), 'configuration-'));
  context.after(() => rmSync(directory, { recursive: true }));
  mkdirSync(join(directory, 'conf.d'));
  for (const [name, content] of Object.entries(more)) {
    writeFileSync(join(directory, 'conf.d', name), content);
  }
  const path = join(directory, 'config.toml');
  writeFileSync(path, text);
  return path;
}

/** Every value by its path. */
function flat(table: TomlTable, path = ''): [string, string][] {
  return Object.entries(table).flatMap(([key, value]) => {
    const here = path === '' ? key : `${path} ${key}`;
    const isTable = typeof value === 'object' && !Array.isArray(value) && !(value instanceof Date);
    return isTable ? flat(value as TomlTable, here) : [[here, JSON.stringify(value)]];
  });
}

/** Plugins of containerd that this daemon has not, and its keys for them. */
const NOT_OURS = [
  /^plugins io\.containerd\.(?:differ\.v1\.erofs|snapshotter\.v1\.(?:aufs|blockfile|erofs)) /,
  /^plugins io\.containerd\.(?:image-verifier|internal|monitor\.container|nri|runtime\.v1|service)\./,
  /^plugins io\.containerd\.cri\.v1\.images image_decryption /,
  /^(?:cgroup|proxy_plugins \S+ exports address)/,
];
/** What only this daemon has. */
const ONLY_OURS = [
  /^plugins io\.containerd\.cri\.v1\.runtime containerd runtimes tsrunc /,
  /^plugins io\.containerd\.snapshotter\.v1\.zfs /,
];
/** Values that differ: our runtime is the default; Debian's CNI plugins are elsewhere. */
const OTHER_VALUES = [/ containerd default_runtime_name$/, / cni bin_dirs$/];

/** The lines of a configuration in which it differs from another. */
function differences(theirText: string, ourText: string): string[] {
  const their = new Map(flat(parse(theirText)));
  const our = new Map(flat(parse(ourText)));
  const keys = [...new Set([...their.keys(), ...our.keys()])];
  return keys
    .filter((key) => {
      if (!our.has(key)) return !NOT_OURS.some((pattern) => pattern.test(key));
      if (!their.has(key)) return !ONLY_OURS.some((pattern) => pattern.test(key));
      return their.get(key) !== our.get(key) && !OTHER_VALUES.some((pattern) => pattern.test(key));
    })
    .map((key) => `${key}: ${their.get(key)} ${our.get(key)}`);
}

test('config default prints what containerd 2.1 prints', { skip }, () => {
  assert.deepEqual(
    differences(
      theirs('containerd-2.1', ['config', 'default']),
      ours(['config', 'default']).stdout,
    ),
    [],
  );
});

for (const kind of ['containerd-2.1', 'containerd-1.6'] as const) {
  test(`the file that ${kind} generates is read without a warning`, { skip }, (context) => {
    const path = fileWith(context, theirs(kind, ['config', 'default']));
    const { stdout, stderr } = ours(['--config', path, 'config', 'dump']);
    assert.equal(stderr, '');
    const their = theirs('containerd-2.1', ['--config', path, 'config', 'dump']);
    assert.deepEqual(differences(their, stdout), []);
    assert.equal(ours(['--config', path, 'config', 'migrate']).stdout, stdout);
  });
}

const FILE = `version = 2
imports = ["conf.d/*.toml"]
disabled_plugins = ["a.b"]
root = "/r"
[grpc]
uid = 5
gid = 6
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "pause:1"
max_concurrent_downloads = 7
stream_idle_timeout = "2h"
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
default_runtime_name = "kata"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata]
runtime_type = "io.containerd.kata.v2"
sandbox_mode = "shim"
snapshotter = "devmapper"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/b"
[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]
endpoint = ["https://m"]
[plugins."io.containerd.grpc.v1.cri".registry.configs."r.io".auth]
username = "u"
[plugins."io.containerd.grpc.v1.cri".registry.headers]
"X-A" = ["b"]
[plugins."io.containerd.snapshotter.v1.overlayfs"]
upperdir_label = true
mount_options = ["a"]
[proxy_plugins.stargz]
type = "snapshot"
address = "/x"
[timeouts]
"x" = "3s"
`;

const DROP_IN = `version = 2
disabled_plugins = ["c.d", "a.b"]
[grpc]
uid = 7
[plugins."io.containerd.snapshotter.v1.overlayfs"]
root_path = "/q"
mount_options = ["b"]
[proxy_plugins.stargz]
type = "snapshot"
capabilities = ["q"]
[proxy_plugins.nydus]
type = "snapshot"
[proxy_plugins.nydus.exports]
root = "/qq"
`;

test('config dump merges imports and migrates as containerd 2.1 does', { skip }, (context) => {
  const path = fileWith(context, FILE, { '1.toml': DROP_IN });
  const their = theirs('containerd-2.1', ['--config', path, 'config', 'dump']);
  const { stdout } = ours(['--config', path, 'config', 'dump']);
  assert.deepEqual(differences(their, stdout), []);
  const kata = parse(stdout)['plugins'] as TomlTable;
  assert.match(JSON.stringify(kata), /"default_runtime_name":"kata"/);
});
