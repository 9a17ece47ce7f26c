/**
 * The options of CRI, which version 3 of the file has in three plugins: images, runtime, and the
 * streaming server (containerd docs/cri/config.md).
 */
import {
  anyTable,
  boolean,
  choice,
  duration,
  idle,
  integer,
  map,
  optional,
  own,
  string,
  strings,
  table,
} from './schema.ts';

/** Options of the shims of runc and of tsrunc (containerd.runc.v1.Options), with their defaults. */
export const RUNC_OPTIONS = {
  BinaryName: string(),
  CriuImagePath: string(),
  CriuWorkPath: string(),
  IoGid: integer(),
  IoUid: integer(),
  NoNewKeyring: boolean(),
  Root: string(),
  ShimCgroup: string(),
  SystemdCgroup: boolean(),
};

/** Options that a file may have beside those that are printed. */
export const MORE_RUNC_OPTIONS = {
  NoPivotRoot: boolean(),
  CriuPath: string(), // of containerd 1.x
  TaskApiAddress: string(),
  TaskApiVersion: integer(),
  InProcess: boolean(), // of our shim
};

const DEFAULT_OPTIONS = Object.fromEntries(
  Object.entries(RUNC_OPTIONS).map(([key, schema]) => [key, schema.default]),
);

export const RUNTIME_FIELDS = {
  runtime_type: string(),
  runtime_path: string(),
  pod_annotations: strings(),
  container_annotations: strings(),
  privileged_without_host_devices: boolean(),
  privileged_without_host_devices_all_devices_allowed: boolean(),
  cgroup_writable: boolean(),
  base_runtime_spec: string(),
  cni_conf_dir: string(),
  cni_max_conf_num: integer(),
  snapshotter: string(),
  sandboxer: idle('pods are made by the daemon itself', string(), 'podsandbox'),
  io_type: idle('output goes through fifos, or is written by the shim', string(), 'fifo'),
  options: anyTable,
};

export const CNI_FIELDS = {
  bin_dir: string(),
  bin_dirs: strings('/opt/cni/bin'),
  conf_dir: string('/etc/cni/net.d'),
  max_conf_num: integer(1),
  setup_serially: idle('networks are set up one after the other anyway', boolean(), true),
  conf_template: idle('a network plugin writes its configuration itself', string()),
  ip_pref: choice(['ipv4', 'ipv6', 'cni']),
  use_internal_loopback: idle('no plugin brings up the loopback device anyway', boolean(), true),
};

const AUTH = table({
  username: string(),
  password: string(),
  auth: string(),
  identitytoken: string(),
});

export const REGISTRY = table({
  config_path: string(),
  mirrors: map(table({ endpoint: strings() })),
  configs: map(
    table({
      auth: optional(AUTH),
      tls: optional(
        table({
          insecure_skip_verify: boolean(),
          ca_file: string(),
          cert_file: string(),
          key_file: string(),
        }),
      ),
    }),
  ),
  auths: map(AUTH),
  headers: map(strings()),
});

export const IMAGES_FIELDS = {
  snapshotter: string('overlayfs'),
  disable_snapshot_annotations: idle(
    'remote snapshotters, and no others, are told what they need',
    boolean(true),
    false,
  ),
  discard_unpacked_layers: boolean(),
  max_concurrent_downloads: integer(3),
  concurrent_layer_fetch_buffer: integer(),
  image_pull_progress_timeout: duration('5m0s'),
  image_pull_with_sync_fs: boolean(),
  stats_collect_period: integer(10),
  use_local_image_pull: idle('all pulls go one way, with all settings', boolean(), true),
  pinned_images: map(string(), { sandbox: 'registry.k8s.io/pause:3.10' }),
  runtime_platforms: map(
    table({
      platform: idle('images are those of the machine', string()),
      snapshotter: string(),
    }),
  ),
  registry: REGISTRY,
  image_decryption: table({ key_model: string('node') }),
};

/** `plugins."io.containerd.cri.v1.images"`. */
export const CRI_IMAGES = table(IMAGES_FIELDS);

/** What the runtime part has beside runtimes and CNI. */
export const NODE_FIELDS = {
  enable_selinux: boolean(),
  selinux_category_range: integer(1024),
  max_container_log_line_size: integer(16384),
  log_format: own(choice(['cri', 'json'], 'cri')),
  disable_apparmor: boolean(),
  restrict_oom_score_adj: boolean(),
  disable_proc_mount: boolean(),
  unset_seccomp_profile: string(),
  tolerate_missing_hugetlb_controller: boolean(true),
  disable_hugetlb_controller: boolean(true),
  device_ownership_from_security_context: boolean(),
  ignore_image_defined_volumes: boolean(),
  netns_mounts_under_state_dir: boolean(),
  enable_unprivileged_ports: boolean(true),
  enable_unprivileged_icmp: boolean(true),
  enable_checkpoint_images: own(boolean()),
  enable_cdi: boolean(true),
  cdi_spec_dirs: strings('/etc/cdi', '/var/run/cdi'),
  drain_exec_sync_io_timeout: duration(),
  ignore_deprecation_warnings: idle('there are no such warnings', strings()),
};

/** `plugins."io.containerd.cri.v1.runtime"`. */
export const CRI_RUNTIME = table({
  ...NODE_FIELDS,
  containerd: table({
    default_runtime_name: string('tsrunc'),
    ignore_blockio_not_enabled_errors: boolean(),
    ignore_rdt_not_enabled_errors: boolean(),
    runtimes: map(table(RUNTIME_FIELDS), {
      runc: {
        runtime_type: 'io.containerd.runc.v2',
        sandboxer: 'podsandbox',
        options: DEFAULT_OPTIONS,
      },
      tsrunc: {
        runtime_type: 'io.containerd.tsrunc.v2',
        sandboxer: 'podsandbox',
        options: DEFAULT_OPTIONS,
      },
    }),
  }),
  cni: table(CNI_FIELDS),
});

/** `plugins."io.containerd.grpc.v1.cri"` of version 3. */
export const CRI_SERVER_FIELDS = {
  disable_tcp_service: boolean(true),
  stream_server_address: string('127.0.0.1'),
  stream_server_port: string('0'),
  stream_idle_timeout: duration('4h0m0s'),
  enable_tls_streaming: boolean(),
  x509_key_pair_streaming: table({ tls_cert_file: string(), tls_key_file: string() }),
};
export const CRI_SERVER = table(CRI_SERVER_FIELDS);
