// The keys that guides to containerd under Kubernetes tell people to set, row by row: each arrives where it acts, and none is
// ignored in silence.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { loadConfig } from './index.ts';

const CRI = 'plugins."io.containerd.grpc.v1.cri"';
const RUNC = `${CRI}.containerd.runtimes.runc`;
const RUNTIME = ['plugins', 'io.containerd.cri.v1.runtime'];
const IMAGES = ['plugins', 'io.containerd.cri.v1.images'];
const SERVER = ['plugins', 'io.containerd.grpc.v1.cri'];

/** Table and key of a file of version 2, the value, and where it is found. */
const ROWS: readonly (readonly [string, string, unknown, readonly string[], unknown?])[] = [
  ['', 'root', '/r', ['root']],
  ['', 'state', '/s', ['state']],
  ['', 'oom_score', -999, ['oom_score']],
  ['grpc', 'address', '/s/grpc.sock', ['grpc', 'address']],
  ['grpc', 'uid', 7, ['grpc', 'uid']],
  ['grpc', 'gid', 8, ['grpc', 'gid']],
  ['debug', 'address', '/s/debug.sock', ['debug', 'address']],
  ['debug', 'level', 'debug', ['debug', 'level']],
  ['metrics', 'address', '127.0.0.1:1338', ['metrics', 'address']],
  ['metrics', 'grpc_histogram', true, ['metrics', 'grpc_histogram']],
  [CRI, 'sandbox_image', 'example.test/pause:1', [...IMAGES, 'pinned_images', 'sandbox']],
  [CRI, 'max_container_log_line_size', 999, [...RUNTIME, 'max_container_log_line_size']],
  [CRI, 'max_concurrent_downloads', 7, [...IMAGES, 'max_concurrent_downloads']],
  [CRI, 'enable_selinux', true, [...RUNTIME, 'enable_selinux']],
  [CRI, 'selinux_category_range', 512, [...RUNTIME, 'selinux_category_range']],
  [CRI, 'disable_proc_mount', true, [...RUNTIME, 'disable_proc_mount']],
  [CRI, 'enable_tls_streaming', true, [...SERVER, 'enable_tls_streaming']],
  [CRI, 'disable_tcp_service', false, [...SERVER, 'disable_tcp_service']],
  [`${CRI}.containerd`, 'snapshotter', 'native', [...IMAGES, 'snapshotter']],
  [`${CRI}.containerd`, 'discard_unpacked_layers', true, [...IMAGES, 'discard_unpacked_layers']],
  [
    `${CRI}.containerd`,
    'default_runtime_name',
    'runc',
    [...RUNTIME, 'containerd', 'default_runtime_name'],
  ],
  ...(
    [
      ['runtime_type', 'io.containerd.runc.v2'],
      ['pod_annotations', ['example.test/*']],
      ['container_annotations', ['example.test/*']],
      ['privileged_without_host_devices', true],
      ['base_runtime_spec', '/etc/base.json'],
    ] as const
  ).map(
    ([key, value]) =>
      [RUNC, key, value, [...RUNTIME, 'containerd', 'runtimes', 'runc', key]] as const,
  ),
  ...(
    [
      ['SystemdCgroup', true],
      ['BinaryName', '/usr/bin/crun'],
    ] as const
  ).map(([key, value]) => {
    const path = [...RUNTIME, 'containerd', 'runtimes', 'runc', 'options', key];
    return [`${RUNC}.options`, key, value, path] as const;
  }),
  [
    `${CRI}.registry.mirrors."docker.io"`,
    'endpoint',
    ['https://mirror.test'],
    [...IMAGES, 'registry', 'mirrors', 'docker.io', 'endpoint'],
  ],
  ...(
    [
      ['auth', 'username', 'u'],
      ['auth', 'password', 'p'],
      ['tls', 'ca_file', '/etc/ca.crt'],
    ] as const
  ).map(([table, key, value]) => {
    const path = [...IMAGES, 'registry', 'configs', 'host.test', table, key];
    return [`${CRI}.registry.configs."host.test".${table}`, key, value, path] as const;
  }),
  [`${CRI}.cni`, 'bin_dir', '/opt/bin', [...RUNTIME, 'cni', 'bin_dirs'], ['/opt/bin']],
  [`${CRI}.cni`, 'conf_dir', '/etc/net.d', [...RUNTIME, 'cni', 'conf_dir']],
];

function load(text: string) {
  const directory = mkdtempSync(join(tmpdir(), 'config-'));
  try {
    const path = join(directory, 'config.toml');
    writeFileSync(path, text);
    const { config, warnings } = loadConfig(path, true);
    return {
      config: config as unknown,
      warnings: warnings.map((each) => each.replace(directory, '')),
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

describe('a key that guides tell people to set', () => {
  for (const [table, key, value, path, expected = value] of ROWS) {
    it(`${table === '' ? '' : `[${table}] `}${key}`, () => {
      const heading = table === '' ? '' : `[${table}]\n`;
      const { config, warnings } = load(
        `version = 2\n${heading}${key} = ${JSON.stringify(value)}\n`,
      );
      const found = path.reduce((at, name) => (at as Record<string, unknown>)[name], config);
      assert.deepEqual(found, expected);
      assert.deepEqual(warnings, []);
    });
  }

  it('that never was one is told', () => {
    const { warnings } = load(`version = 2\n[${CRI}]\nmax_container_log_size = "16Mi"\n`);
    const told = `/config.toml:3: unknown key ${CRI}.max_container_log_size, did you mean "max_container_log_line_size"?`;
    assert.deepEqual(warnings, [told]);
  });
});
