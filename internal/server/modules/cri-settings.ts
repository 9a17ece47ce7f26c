import { join } from 'node:path';
import { type ConfigFile, durationMs } from '../../config/index.ts';
import type { CriConfig, RuntimeHandlerConfig } from '../../cri/cri-config.ts';
import { TsError } from '../../errors/index.ts';

/** What our shim takes for one line (`max-line` of its log addresses). */
const [LEAST_LOG_LINE_BYTES, GREATEST_LOG_LINE_BYTES] = [16, 4 << 20];

const GREATEST_CATEGORY_RANGE = 1024;
const DIRECTORY = 'io.containerd.grpc.v1.cri';
type RuntimeTable =
  ConfigFile['plugins']['io.containerd.cri.v1.runtime']['containerd']['runtimes'][string];

/** The CRI's settings from the daemon's configuration: the tables of images, runtimes and the streaming server. */
export function criSettings({ root, state, plugins }: ConfigFile): CriConfig {
  const images = plugins['io.containerd.cri.v1.images'];
  const runtime = plugins['io.containerd.cri.v1.runtime'];
  const server = plugins['io.containerd.grpc.v1.cri'];
  const { containerd, cni } = runtime;
  return {
    rootDir: join(root, DIRECTORY),
    stateDir: join(state, DIRECTORY),
    runtimes: new Map(
      Object.entries(containerd.runtimes).map(([name, table]) => [
        name,
        handlerOf(table, images.runtime_platforms[name]?.snapshotter ?? '', cni.max_conf_num),
      ]),
    ),
    defaultRuntime: containerd.default_runtime_name,
    snapshotter: images.snapshotter,
    sandboxImage: images.pinned_images['sandbox'] ?? '',
    fallsBackToBuiltinPause: true,
    cni: {
      binDirs: cni.bin_dir === '' ? cni.bin_dirs : [cni.bin_dir],
      confDir: cni.conf_dir,
      maxConfNum: cni.max_conf_num,
      ipPreference: ipPreference(cni.ip_pref),
    },
    maxContainerLogLineBytes: logLineBytes(runtime.max_container_log_line_size),
    logFormat: runtime.log_format === 'json' ? 'json' : 'cri',
    restrictsOomScoreAdj: runtime.restrict_oom_score_adj,
    disablesCgroup: false,
    disablesApparmor: runtime.disable_apparmor,
    unsetSeccompProfile: runtime.unset_seccomp_profile,
    toleratesMissingHugetlbController: runtime.tolerate_missing_hugetlb_controller,
    enablesSelinux: runtime.enable_selinux,
    selinuxCategoryRange: categoryRange(runtime.selinux_category_range),
    disablesHugetlbController: runtime.disable_hugetlb_controller,
    disablesProcMount: runtime.disable_proc_mount,
    ownsDevicesByUser: runtime.device_ownership_from_security_context,
    netnsUnderStateDir: runtime.netns_mounts_under_state_dir,
    enablesUnprivilegedPorts: runtime.enable_unprivileged_ports,
    enablesUnprivilegedIcmp: runtime.enable_unprivileged_icmp,
    ignoresImageDefinedVolumes: runtime.ignore_image_defined_volumes,
    ignoresBlockioClasses: containerd.ignore_blockio_not_enabled_errors,
    ignoresRdtClasses: containerd.ignore_rdt_not_enabled_errors,
    drainExecSyncIoTimeoutMs: durationMs(runtime.drain_exec_sync_io_timeout) ?? 0,
    enablesCheckpointImages: runtime.enable_checkpoint_images,
    enablesCdi: runtime.enable_cdi,
    cdiSpecDirs: runtime.cdi_spec_dirs,
    statsCollectPeriodMs: images.stats_collect_period * 1000,
    stream: {
      address: server.stream_server_address,
      port: portOf(server.stream_server_port),
      idleTimeoutMs: durationMs(server.stream_idle_timeout) ?? 0,
      tls: {
        isEnabled: server.enable_tls_streaming,
        certFile: server.x509_key_pair_streaming.tls_cert_file,
        keyFile: server.x509_key_pair_streaming.tls_key_file,
      },
    },
  };
}

/** `snapshotter` is that of `runtime_platforms`, `maxConfNum` that of all other runtimes. */
function handlerOf(
  table: RuntimeTable,
  snapshotter: string,
  maxConfNum: number,
): RuntimeHandlerConfig {
  const { cni_conf_dir: confDir, cni_max_conf_num } = table;
  return {
    type: table.runtime_path === '' ? table.runtime_type : table.runtime_path,
    options: withoutDefaults(table.options),
    podAnnotations: table.pod_annotations,
    containerAnnotations: table.container_annotations,
    privilegedWithoutHostDevices: table.privileged_without_host_devices,
    privilegedAllowsAllDevices: table.privileged_without_host_devices_all_devices_allowed,
    isCgroupWritable: table.cgroup_writable,
    snapshotter: table.snapshotter || snapshotter,
    baseRuntimeSpec: table.base_runtime_spec,
    ...(confDir === ''
      ? {}
      : { networks: { confDir, maxConfNum: cni_max_conf_num || maxConfNum } }),
  };
}

/** An option that says nothing need not be sent to the shim. */
function withoutDefaults(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const isSet = (value: unknown): boolean => value !== '' && value !== 0 && value !== false;
  return Object.fromEntries(Object.entries(options).filter(([, value]) => isSet(value)));
}

/** IPv4 unless another is chosen, as in containerd. */
function ipPreference(text: string): CriConfig['cni']['ipPreference'] {
  return text === 'ipv6' || text === 'cni' ? text : 'ipv4';
}

/** 0 is "no limit"; what is more than the shim holds of one line is none either. */
function logLineBytes(size: number): number {
  if (size <= 0 || size > GREATEST_LOG_LINE_BYTES) return 0;
  if (size >= LEAST_LOG_LINE_BYTES) return size;
  throw new TsError('InvalidArgument', `max_container_log_line_size: ${size} is too short`, {
    advice: `use ${LEAST_LOG_LINE_BYTES} or more, or -1 for no limit`,
  });
}

/** 0 is the default, as in containerd; a pair needs two of them, and a policy has 1024. */
function categoryRange(range: number): number {
  if (range === 0) return GREATEST_CATEGORY_RANGE;
  if (range >= 2 && range <= GREATEST_CATEGORY_RANGE) return range;
  throw new TsError('InvalidArgument', `selinux_category_range: ${range}`, {
    advice: `use 2 to ${GREATEST_CATEGORY_RANGE}`,
  });
}

function portOf(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 0 && port <= 65535) return port;
  throw new TsError('InvalidArgument', `stream_server_port: ${JSON.stringify(text)} is not a port`);
}
