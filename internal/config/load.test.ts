import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { defaultConfig, durationMs, levelOf, loadConfig, printConfig, withFlags } from './index.ts';

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
  const { config, warnings } = loadConfig(path, true);
  return {
    config,
    warnings: warnings.map((warning) => warning.replace(path, 'config.toml')),
    path,
  };
}

test('loadConfig: without a file the defaults hold', () => {
  const { config, warnings } = loadConfig('/nonexistent/config.toml', false);
  assert.deepEqual(config, defaultConfig());
  assert.equal(config.grpc.address, '/run/containerd/containerd.sock');
  assert.equal(config.grpc.max_recv_message_size, 16777216);
  assert.deepEqual(warnings, []);
});

test('loadConfig: a file that was asked for must be there', () => {
  assert.throws(() => loadConfig('/nonexistent/config.toml', true), {
    kind: 'NotFound',
    message: 'read configuration /nonexistent/config.toml: ENOENT',
  });
});

test('loadConfig: keys that act, in version 2 and 3', (context) => {
  for (const version of [2, 3]) {
    const { config, warnings } = load(
      context,
      `version = ${version}
      root = "/r"
      state = "/s"
      temp = "/t"
      oom_score = -999
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
    assert.deepEqual([config.root, config.state, config.temp], ['/r', '/s', '/t']);
    assert.equal(config.oom_score, -999);
    assert.deepEqual(config.disabled_plugins, ['io.containerd.grpc.v1.cri']);
    assert.deepEqual([config.grpc.address, config.grpc.uid, config.grpc.gid], ['/a.sock', 1, 2]);
    assert.deepEqual(
      [config.grpc.max_recv_message_size, config.grpc.max_send_message_size],
      [3, 4],
    );
    assert.deepEqual(config.ttrpc, { address: '', uid: 5, gid: 0 });
    assert.equal(levelOf(config.debug.level), 'warn');
    assert.equal(durationMs(config.timeouts['io.containerd.timeout.task.state']), 90_000);
    assert.equal(
      config.plugins['io.containerd.metadata.v1.bolt'].content_sharing_policy,
      'isolated',
    );
  }
});

test('withFlags: flags are on top of the file', (context) => {
  const { config: file } = load(
    context,
    'version = 3\nroot = "/r"\n[grpc]\naddress = "/a"\nuid = 7',
  );
  const config = withFlags(file, { root: '/flag', address: '/b', logLevel: 'trace' });
  assert.deepEqual([config.root, config.state], ['/flag', '/run/containerd']);
  assert.deepEqual([config.grpc.address, config.grpc.uid], ['/b', 7]);
  assert.equal(config.debug.level, 'trace');
  assert.throws(() => withFlags(file, { logLevel: 'loud' }), {
    message: 'log level "loud" is none of trace, debug, info, warn, error, fatal',
  });
});

/** The tables of the CRI seeds, as users write them into files of version 2. */
const CRI_V2 = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.9"
  enable_selinux = true
  ignore_deprecation_warnings = ["x"]
  max_container_log_line_size = 4096
  stream_idle_timeout = "1h"
  max_concurrent_downloads = 5
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "kata"
    discard_unpacked_layers = true
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata]
      runtime_type = "io.containerd.kata.v2"
      sandbox_mode = "shim"
      pod_annotations = ["custom.io/*"]
      privileged_without_host_devices = true
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata.options]
        ConfigPath = "/k"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/b"
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]
    endpoint = ["https://mirror"]
  [plugins."io.containerd.grpc.v1.cri".registry.configs."r.example".auth]
    username = "u"
  [plugins."io.containerd.grpc.v1.cri".registry.configs."r.example".tls]
    insecure_skip_verify = true
[plugins."io.containerd.monitor.v1.cgroups"]
  no_prometheus = false
`;

test('loadConfig: CRI of version 2 becomes the three plugins of version 3', (context) => {
  const { config, warnings } = load(context, CRI_V2);
  const cri = 'config.toml:5: plugins."io.containerd.grpc.v1.cri"';
  assert.deepEqual(warnings, [
    `${cri}.ignore_deprecation_warnings has no effect in this version: there are no such warnings`,
  ]);
  const images = config.plugins['io.containerd.cri.v1.images'];
  const runtime = config.plugins['io.containerd.cri.v1.runtime'];
  assert.equal(images.pinned_images['sandbox'], 'registry.k8s.io/pause:3.9');
  assert.deepEqual(
    [images.snapshotter, images.discard_unpacked_layers, images.max_concurrent_downloads],
    ['native', true, 5],
  );
  assert.deepEqual(images.registry.mirrors, { 'docker.io': { endpoint: ['https://mirror'] } });
  assert.deepEqual(images.registry.configs, {
    'r.example': {
      auth: { username: 'u', password: '', auth: '', identitytoken: '' },
      tls: { insecure_skip_verify: true, ca_file: '', cert_file: '', key_file: '' },
    },
  });
  assert.deepEqual([runtime.enable_selinux, runtime.max_container_log_line_size], [true, 4096]);
  assert.deepEqual(runtime.cni.bin_dirs, ['/b']);
  assert.equal(runtime.containerd.default_runtime_name, 'kata');
  const { kata, runc } = runtime.containerd.runtimes;
  assert.deepEqual(
    [kata?.runtime_type, kata?.sandboxer, kata?.pod_annotations, kata?.options],
    ['io.containerd.kata.v2', 'shim', ['custom.io/*'], { ConfigPath: '/k' }],
  );
  assert.equal(kata?.privileged_without_host_devices, true);
  assert.equal(runc?.options['SystemdCgroup'], true);
  assert.equal(runc?.runtime_type, 'io.containerd.runc.v2');
  assert.equal(config.plugins['io.containerd.grpc.v1.cri'].stream_idle_timeout, '1h');
});

test("loadConfig: our runtime is the default, but not where only containerd's is set up", (context) => {
  const runtimes = '[plugins."io.containerd.cri.v1.runtime".containerd.runtimes';
  for (const [text, expected] of [
    ['version = 3', 'tsrunc'],
    [`version = 3\n${runtimes}.runc.options]\nSystemdCgroup = true`, 'runc'],
    [`version = 3\n${runtimes}.tsrunc.options]\nSystemdCgroup = true`, 'tsrunc'],
    [`version = 3\n${runtimes}.crun]\nruntime_type = "io.containerd.runc.v2"`, 'tsrunc'],
  ] as const) {
    const { config } = load(context, text);
    const { containerd } = config.plugins['io.containerd.cri.v1.runtime'];
    assert.equal(containerd.default_runtime_name, expected, text);
  }
});

const WARNINGS: [string, string[]][] = [
  ['version = 3\nrot = "/x"', ['config.toml:2: unknown key rot, did you mean "root"?']],
  [
    'version = 3\n[grpc]\nadress = "/x"',
    ['config.toml:3: unknown key grpc.adress, did you mean "address"?'],
  ],
  ['version = 3\n[grpc]\nx.y = 1', ['config.toml:3: unknown key grpc.x']],
  [
    'version = 3\n\n[cgroup]\npath = "x"',
    [
      'config.toml:4: cgroup.path has no effect in this version: the daemon stays in the cgroup that it is started in',
    ],
  ],
  ['version = 3\n[cgroup]\npath = ""', []],
  [
    'version = 2\n[plugins."io.containerd.x.v1.y"]\na = 1',
    ['config.toml:2: unknown key plugins."io.containerd.x.v1.y"'],
  ],
  [
    'version = 2\n[plugins."io.containerd.internal.v1.tracing"]\nendpoint = "x"',
    [
      'config.toml:3: plugins."io.containerd.internal.v1.tracing".endpoint has no effect in this version: this daemon has no such plugin',
    ],
  ],
  [
    'version = 3\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "x"',
    ['config.toml:3: unknown key plugins."io.containerd.grpc.v1.cri".sandbox_image'],
  ],
  [
    'version = 3\n[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]\nSystemdCGroups = true',
    [
      'config.toml:3: unknown key plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options.SystemdCGroups, did you mean "SystemdCgroup"?',
    ],
  ],
  [
    'version = 3\n[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.x]\nruntime_type = "io.x.v1"\noptions.Foo = 1',
    [],
  ],
  ['version = 3\n[__proto__]\na = 1', ['config.toml:2: unknown key __proto__']],
  ['root = "/x"', ['config.toml: no version: taken for version 3']],
  ['', []],
];

for (const [text, expected] of WARNINGS) {
  test(`loadConfig: ${JSON.stringify(text)} gives ${expected.length} warnings`, (context) => {
    assert.deepEqual(load(context, text).warnings, expected);
  });
}

const ERRORS: [string, string][] = [
  ['version = 3\nroot = 5', ':2: root must be a string, not an integer'],
  ['version = 3\n[grpc]\nuid = "x"', ':3: grpc.uid must be an integer, not a string'],
  ['version = 3\n[grpc]\nuid = 1.5', ':3: grpc.uid must be an integer, not a float'],
  ['version = 3\ngrpc = 1', ':2: grpc must be a table, not an integer'],
  ['version = 3\ngrpc = 1979-05-27', ':2: grpc must be a table, not a date'],
  ['version = 3\nimports = [1]', ':2: imports must be an array of strings, not an array'],
  [
    'version = 3\n[metrics]\ngrpc_histogram = 1',
    ':3: metrics.grpc_histogram must be a boolean, not an integer',
  ],
  [
    'version = 3\n[plugins]\n"io.containerd.gc.v1.scheduler" = 1',
    ':3: plugins."io.containerd.gc.v1.scheduler" must be a table, not an integer',
  ],
  [
    'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.x]\npod_annotations = "a"',
    ':3: plugins."io.containerd.grpc.v1.cri".containerd.runtimes.x.pod_annotations must be an array of strings, not a string',
  ],
  [
    'version = 3\n[plugins."io.containerd.gc.v1.scheduler"]\npause_threshold = "a"',
    ':3: plugins."io.containerd.gc.v1.scheduler".pause_threshold must be a number, not a string',
  ],
  [
    'version = 3\n[[plugins."io.containerd.transfer.v1.local".unpack_config]]\nplatform = "a"\n[[plugins."io.containerd.transfer.v1.local".unpack_config]]\nplatform = 5',
    ':5: plugins."io.containerd.transfer.v1.local".unpack_config.1.platform must be a string, not an integer',
  ],
  [
    'version = 3\n[proxy_plugins.x]\ntype = "snapshots"',
    ':3: proxy_plugins.x.type must be one of "snapshot", "content", "sandbox", "diff", not "snapshots"',
  ],
  [
    'version = 3\n[debug]\nlevel = "loud"',
    ':3: debug.level must be one of "trace", "debug", "info", "warn", "error", "fatal", "warning", "panic", not "loud"',
  ],
  [
    'version = 3\n[timeouts]\n"io.containerd.timeout.shim.load" = "soon"',
    ':3: timeouts."io.containerd.timeout.shim.load" must be a duration such as "5s", not "soon"',
  ],
  [
    'version = 3\n[plugins."io.containerd.metadata.v1.bolt"]\ncontent_sharing_policy = "some"',
    ':3: plugins."io.containerd.metadata.v1.bolt".content_sharing_policy must be one of "shared", "isolated", not "some"',
  ],
  ['version = 1', ':1: configuration version 1 is not supported'],
  ['\nversion = 4', ':2: configuration version 4 is not supported'],
  ['[plugins.cri]', ': configuration version 1 is not supported'],
];

for (const [text, message] of ERRORS) {
  test(`loadConfig: refuses ${JSON.stringify(text)}`, (context) => {
    const directory = directoryWith(context, { 'config.toml': text });
    const path = join(directory, 'config.toml');
    assert.throws(() => loadConfig(path, true), {
      kind: 'InvalidArgument',
      message: `${path}${message}`,
    });
  });
}

test('loadConfig: refuses what is not TOML, with the line', (context) => {
  const directory = directoryWith(context, { 'config.toml': 'version = 3\nroot = \n' });
  const path = join(directory, 'config.toml');
  assert.throws(() => loadConfig(path, true), {
    code: 'TS_CONFIG_SYNTAX',
    message: new RegExp(`^${path}:2: not TOML: `),
  });
});

test('loadConfig: imports are merged in order, a loop is read once', (context) => {
  const directory = directoryWith(context, {
    'config.toml':
      'version = 3\nimports = ["conf.d/*.toml"]\nroot = "/r"\n[grpc]\nuid = 1\ngid = 1',
    'conf.d/a.toml':
      'version = 2\nimports = ["../config.toml"]\nroot = "/a"\ndisabled_plugins = ["a.b"]\n[grpc]\nuid = 2\n[plugins."io.containerd.grpc.v1.cri".cni]\nbin_dir = "/b"',
    'conf.d/b.toml':
      'version = 3\nroot = "/b"\nnonsense = 1\ndisabled_plugins = ["c.d", "a.b"]\n[plugins."io.containerd.cri.v1.runtime".cni]\nconf_dir = "/c"',
    'conf.d/c.txt': 'not read',
  });
  const { config, warnings } = loadConfig(join(directory, 'config.toml'), true);
  assert.equal(config.root, '/b');
  assert.deepEqual([config.grpc.uid, config.grpc.gid], [2, 1]);
  assert.deepEqual(config.disabled_plugins, ['a.b', 'c.d']);
  const { cni } = config.plugins['io.containerd.cri.v1.runtime'];
  assert.deepEqual([cni.bin_dirs, cni.conf_dir], [['/b'], '/c']);
  assert.deepEqual(warnings, [`${join(directory, 'conf.d/b.toml')}:3: unknown key nonsense`]);
});

test('loadConfig: an import that is named must be there', (context) => {
  const directory = directoryWith(context, { 'config.toml': 'version = 3\nimports = ["x.toml"]' });
  assert.throws(() => loadConfig(join(directory, 'config.toml'), true), {
    message: `read configuration ${join(directory, 'x.toml')}: ENOENT`,
  });
});

test('printConfig: what is printed gives the same configuration', (context) => {
  const { config } = load(
    context,
    'version = 3\nroot = "/r"\n[timeouts]\n"io.containerd.timeout.task.state" = "1.5s"\n[grpc]\nuid = 3',
  );
  const printed = printConfig(config);
  const again = load(context, printed);
  assert.equal(printConfig(again.config), printed);
  assert.deepEqual([again.config.root, again.config.grpc.uid], ['/r', 3]);
  assert.equal(again.config.timeouts['io.containerd.timeout.task.state'], '1.5s');
  assert.deepEqual(again.warnings, []);
});
