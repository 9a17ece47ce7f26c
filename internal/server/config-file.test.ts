import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { configOf, layerOf } from './config.ts';
import { loadConfig, printConfig } from './config-file.ts';

function directoryWith(context: TestContext, files: Record<string, string>): string {
  const directory = mkdtempSync(join(tmpdir(), 'config-test-'));
  context.after(() => rmSync(directory, { recursive: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(directory, name, '..'), { recursive: true });
    writeFileSync(join(directory, name), text);
  }
  return directory;
}

function load(context: TestContext, text: string) {
  const path = join(directoryWith(context, { 'config.toml': text }), 'config.toml');
  const { config, warnings } = loadConfig(path, {}, true);
  return {
    config,
    warnings: warnings.map((warning) => warning.replace(path, 'config.toml')),
    path,
  };
}

test('loadConfig: without a file the defaults hold', () => {
  const { config, warnings } = loadConfig('/nonexistent/config.toml', {}, false);
  assert.deepEqual(config, configOf({}));
  assert.equal(config.grpc.address, '/run/containerd/containerd.sock');
  assert.equal(config.ttrpc.address, '/run/containerd/containerd.sock.ttrpc');
  assert.equal(config.grpc.maxReceiveMessageBytes, 16777216);
  assert.deepEqual(warnings, []);
});

test('loadConfig: a file that was asked for must be there', () => {
  assert.throws(() => loadConfig('/nonexistent/config.toml', {}, true), {
    kind: 'NotFound',
    message: 'read configuration /nonexistent/config.toml: ENOENT',
  });
});

test('loadConfig: all keys that act, in version 2 and 3', (context) => {
  for (const version of [2, 3]) {
    const { config, warnings } = load(
      context,
      `version = ${version}
      root = "/r"
      state = "/s"
      disabled_plugins = ["io.containerd.grpc.v1.cri"]
      [grpc]
      address = "/a.sock"
      uid = 1
      gid = 2
      max_recv_message_size = 3
      max_send_message_size = 4
      [ttrpc]
      uid = 5
      [debug]
      level = "warning"
      [timeouts]
      "io.containerd.timeout.task.state" = "1m30s"
      [plugins."io.containerd.metadata.v1.bolt"]
      content_sharing_policy = "isolated"`,
    );
    assert.deepEqual(warnings, []);
    assert.deepEqual([config.root, config.state], ['/r', '/s']);
    assert.deepEqual(config.disabledPlugins, ['io.containerd.grpc.v1.cri']);
    assert.deepEqual(config.grpc, {
      address: '/a.sock',
      uid: 1,
      gid: 2,
      maxReceiveMessageBytes: 3,
      maxSendMessageBytes: 4,
    });
    assert.deepEqual(config.ttrpc, { address: '/a.sock.ttrpc', uid: 5, gid: 0 });
    assert.equal(config.debug.level, 'warn');
    assert.equal(config.timeoutsMs.get('io.containerd.timeout.task.state'), 90_000);
    assert.equal(config.isContentShared, false);
  }
});

test('loadConfig: flags are on top of the file', (context) => {
  const directory = directoryWith(context, {
    'config.toml': 'version = 3\nroot = "/r"\n[grpc]\naddress = "/a"\nuid = 7',
  });
  const overrides = { root: '/flag', grpc: { address: '/b' }, debug: { level: 'trace' } };
  const { config } = loadConfig(join(directory, 'config.toml'), overrides, true);
  assert.equal(config.root, '/flag');
  assert.deepEqual([config.grpc.address, config.grpc.uid], ['/b', 7]);
  assert.equal(config.ttrpc.address, '/b.ttrpc');
  assert.equal(config.debug.level, 'trace');
});

const WARNINGS: [string, string[]][] = [
  ['version = 3\nrot = "/x"', ['config.toml:2: unknown key "rot"']],
  ['version = 3\n[grpc]\nadress = "/x"', ['config.toml:3: unknown key "grpc.adress"']],
  [
    'version = 3\n\n[metrics]\naddress = "x"',
    ['config.toml:4: "metrics.address" has no effect in this version'],
  ],
  [
    'version = 2\n[plugins."io.containerd.x.v1.y"]\na = 1',
    ['config.toml:2: options of plugin "io.containerd.x.v1.y" have no effect in this version'],
  ],
  [
    'version = 2\n[plugins."io.containerd.metadata.v1.bolt"]\nno_sync = true',
    ['config.toml:3: unknown key "plugins.io.containerd.metadata.v1.bolt.no_sync"'],
  ],
  ['version = 3\n[__proto__]\na = 1', ['config.toml:2: unknown key "__proto__"']],
  ['root = "/x"', ['config.toml: no version: taken for version 3']],
  ['', []],
];

for (const [text, expected] of WARNINGS) {
  test(`loadConfig: ${JSON.stringify(text)} gives ${expected.length} warnings`, (context) => {
    assert.deepEqual(load(context, text).warnings, expected);
  });
}

const ERRORS: [string, string][] = [
  ['version = 3\nroot = 5', ':2: "root" must be a string, not an integer'],
  ['version = 3\n[grpc]\nuid = "x"', ':3: "grpc.uid" must be an integer, not a string'],
  ['version = 3\n[grpc]\nuid = 1.5', ':3: "grpc.uid" must be an integer, not a float'],
  ['version = 3\ngrpc = 1', ':2: "grpc" must be a table, not an integer'],
  ['version = 3\nimports = [1]', ':2: "imports" must be an array of strings, not an array'],
  [
    'version = 3\n[metrics]\ngrpc_histogram = 1',
    ':3: "metrics.grpc_histogram" must be a boolean, not an integer',
  ],
  ['version = 3\n[plugins]\nx = 1', ':3: "plugins.x" must be a table, not an integer'],
  ['version = 1', ': configuration version 1 is not supported'],
  ['[plugins.cri]', ': configuration version 1 is not supported'],
];

for (const [text, message] of ERRORS) {
  test(`loadConfig: refuses ${JSON.stringify(text)}`, (context) => {
    const directory = directoryWith(context, { 'config.toml': text });
    const path = join(directory, 'config.toml');
    assert.throws(() => loadConfig(path, {}, true), {
      kind: 'InvalidArgument',
      message: `${path}${message}`,
    });
  });
}

test('loadConfig: refuses what is not TOML, with the line', (context) => {
  const directory = directoryWith(context, { 'config.toml': 'version = 3\nroot = \n' });
  const path = join(directory, 'config.toml');
  assert.throws(() => loadConfig(path, {}, true), {
    code: 'TS_CONFIG_SYNTAX',
    message: new RegExp(`^${path}:2: not TOML: `),
  });
});

for (const [text, message] of [
  [
    'version = 3\n[debug]\nlevel = "loud"',
    'log level "loud" is none of trace, debug, info, warn, error, fatal',
  ],
  [
    'version = 3\n[timeouts]\nx = "soon"',
    'timeouts."x" must be a duration such as "5s", not "soon"',
  ],
  [
    'version = 3\n[plugins."io.containerd.metadata.v1.bolt"]\ncontent_sharing_policy = "some"',
    'content_sharing_policy "some" is neither "shared" nor "isolated"',
  ],
] as const) {
  test(`loadConfig: refuses ${JSON.stringify(text)}`, (context) => {
    const path = join(directoryWith(context, { 'config.toml': text }), 'config.toml');
    assert.throws(() => loadConfig(path, {}, true), { kind: 'InvalidArgument', message });
  });
}

test('loadConfig: imports are merged in order, a loop is read once', (context) => {
  const directory = directoryWith(context, {
    'config.toml':
      'version = 3\nimports = ["conf.d/*.toml"]\nroot = "/r"\n[grpc]\nuid = 1\ngid = 1',
    'conf.d/a.toml': 'version = 2\nimports = ["../config.toml"]\nroot = "/a"\n[grpc]\nuid = 2',
    'conf.d/b.toml': 'version = 3\nroot = "/b"\nnonsense = 1',
    'conf.d/c.txt': 'not read',
  });
  const { config, warnings } = loadConfig(join(directory, 'config.toml'), {}, true);
  assert.equal(config.root, '/b');
  assert.deepEqual([config.grpc.uid, config.grpc.gid], [2, 1]);
  assert.deepEqual(warnings, [`${join(directory, 'conf.d/b.toml')}:3: unknown key "nonsense"`]);
});

test('loadConfig: an import that is named must be there', (context) => {
  const directory = directoryWith(context, { 'config.toml': 'version = 3\nimports = ["x.toml"]' });
  assert.throws(() => loadConfig(join(directory, 'config.toml'), {}, true), {
    message: `read configuration ${join(directory, 'x.toml')}: ENOENT`,
  });
});

test('printConfig: what is printed gives the same configuration', (context) => {
  const { config } = load(
    context,
    'version = 3\nroot = "/r"\n[timeouts]\n"io.containerd.timeout.task.state" = "1.5s"\n[grpc]\nuid = 3',
  );
  const printed = printConfig(layerOf(config));
  const again = load(context, printed);
  assert.equal(printConfig(layerOf(again.config)), printed);
  assert.deepEqual([again.config.root, again.config.grpc.uid], ['/r', 3]);
  assert.equal(again.config.timeoutsMs.get('io.containerd.timeout.task.state'), 1500);
  assert.deepEqual(again.warnings, []);
});
