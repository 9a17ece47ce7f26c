// The validation suite of the OCI's runtime-tools, version 0.9.0: built from its Go module into the cache of the peers, and
// what is known of each of its files on a machine such as the one that this was written on.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { goProgram } from '../peers/go-module.ts';
import { cacheDirectory } from '../peers/install.ts';

const MODULE = 'github.com/opencontainers/runtime-tools';

/** The module has no go.mod of its own: these are the versions that it compiles with. */
const GO_MOD = `module tscontainerd.test/runtime-tools

go 1.21

require (
	${MODULE} v0.9.0
	github.com/blang/semver v3.5.1+incompatible
	github.com/hashicorp/go-multierror v1.1.1
	github.com/mndrix/tap-go v0.0.0-20171203230836-629fa407e90b
	github.com/mrunalp/fileutils v0.5.1
	github.com/opencontainers/runtime-spec v1.0.2
	github.com/opencontainers/selinux v1.8.0
	github.com/satori/go.uuid v1.2.0
	github.com/sirupsen/logrus v1.9.3
	github.com/syndtr/gocapability v0.0.0-20200815063812-42c35b437635
	github.com/urfave/cli v1.22.15
	github.com/xeipuuv/gojsonschema v1.2.0
	golang.org/x/sys v0.30.0
)
`;

/** What becomes of a file of the suite under tsrunc: it passes (if this process has a capability, or the kernel AppArmor), or why it cannot. */
export type Outcome = 'passes' | { readonly needs: string } | { readonly fails: string };

const LEAF_WEIGHT = 'asks for blkio.leaf_weight, which kernels since 5.0 do not have';
const HUGETLB = 'asks for the cgroup v1 controller hugetlb, which is not mounted everywhere';
const NET_CLS =
  'asks for the cgroup v1 controllers net_cls and net_prio, which are not mounted everywhere';
const KERNEL_MEMORY =
  'expects memory.kmem.limit_in_bytes to keep a value, which kernels since 5.16 do not';

/** All files of the suite. runc and crun fail at those that tsrunc fails at, unless the text says otherwise. */
export const VALIDATIONS: Readonly<Record<string, Outcome>> = {
  config_updates_without_affect: 'passes',
  create: 'passes',
  default: 'passes',
  delete: {
    fails:
      'expects that a created container cannot be deleted; runc and crun kill and delete it, and engines count on that',
  },
  delete_only_create_resources: 'passes',
  delete_resources: 'passes',
  hooks: { fails: 'expects lines that its own hooks do not write' },
  hooks_stdin: {
    fails:
      'compares ociVersion with a process id of its own that is empty, and wants the status created in prestart hooks, where the specification says creating',
  },
  hostname: 'passes',
  kill: 'passes',
  kill_no_effect: 'passes',
  killsig: 'passes',
  linux_cgroups_blkio: { fails: LEAF_WEIGHT },
  linux_cgroups_cpus: 'passes',
  linux_cgroups_devices: 'passes',
  linux_cgroups_hugetlb: { fails: HUGETLB },
  linux_cgroups_memory: { fails: KERNEL_MEMORY },
  linux_cgroups_network: { fails: NET_CLS },
  linux_cgroups_pids: 'passes',
  linux_cgroups_relative_blkio: { fails: LEAF_WEIGHT },
  linux_cgroups_relative_cpus: 'passes',
  linux_cgroups_relative_devices: 'passes',
  linux_cgroups_relative_hugetlb: { fails: HUGETLB },
  linux_cgroups_relative_memory: { fails: KERNEL_MEMORY },
  linux_cgroups_relative_network: { fails: NET_CLS },
  linux_cgroups_relative_pids: 'passes',
  linux_devices: 'passes',
  linux_masked_paths: 'passes',
  linux_mount_label: {
    fails:
      'gives linux.mountLabel where SELinux is absent: refused by name, as runc does; crun passes, since it ignores the label',
  },
  linux_ns_itype: {
    fails:
      "leaves the mount namespace out, so that the container's mounts would be the host's: refused by name; crun passes",
  },
  linux_ns_nopath: 'passes',
  linux_ns_path: 'passes',
  linux_ns_path_type: 'passes',
  // Where AppArmor is absent a profile is refused by name, as by runc; crun passes, since it ignores it.
  linux_process_apparmor_profile: { needs: 'AppArmor' },
  linux_readonly_paths: 'passes',
  linux_rootfs_propagation: { needs: 'CAP_SYS_RESOURCE' },
  linux_seccomp: 'passes',
  linux_sysctl: 'passes',
  linux_uid_mappings: 'passes',
  misc_props: { fails: 'starts a program, /runtimetest, that it has not put into its bundle' },
  mounts: 'passes',
  pidfile: { fails: 'kills a container that has ended by itself, and wants no error' },
  poststart: 'passes',
  poststart_fail: {
    fails:
      'wants only a warning of a poststart hook that fails; runc and crun make it an error of start, as later versions of the specification do',
  },
  poststop: 'passes',
  poststop_fail: 'passes',
  prestart: {
    fails:
      'wants prestart hooks after start was called, where the specification has them in create',
  },
  prestart_fail: 'passes',
  process: 'passes',
  process_capabilities: { needs: 'CAP_SYS_RESOURCE' },
  process_capabilities_fail: 'passes',
  process_oom_score_adj: 'passes',
  process_rlimits: {
    fails: "reads the limit of open files after Go's start-up has raised it to the hard one",
  },
  process_rlimits_fail: 'passes',
  process_user: 'passes',
  root_readonly_true: 'passes',
  start: {
    fails:
      'wants start to succeed without a process, where the sentence that it quotes wants an error; crun passes, since it starts nothing',
  },
  state: 'passes',
};

/** The directory with the built suite, which is built if need be, or why there is none. */
export function buildRuntimeTools(): { readonly directory: string } | { readonly skip: string } {
  if (process.arch !== 'x64') return { skip: 'the suite has root file systems for x86 alone' };
  const key = createHash('sha256').update(GO_MOD).digest('hex').slice(0, 8);
  const directory = join(cacheDirectory(), `runtime-tools-${key}`);
  if (existsSync(directory)) return { directory };
  const go = goProgram();
  if (go === undefined)
    return { skip: 'no Go compiler; the tables of test/conformance stand for it' };
  mkdirSync(cacheDirectory(), { recursive: true });
  const work = mkdtempSync(join(cacheDirectory(), '.runtime-tools-'));
  try {
    writeFileSync(join(work, 'go.mod'), GO_MOD);
    const names = Object.keys(VALIDATIONS).map((name) => `${MODULE}/validation/${name}`);
    const build = ['build', '-mod=mod', '-trimpath', '-ldflags=-s -w', '-o', `${work}/`];
    const problem =
      runGo(go, work, [...build, ...names]) ??
      runGo(go, work, [...build, `${MODULE}/cmd/runtimetest`]);
    if (problem !== undefined) return { skip: `the suite cannot be built: ${problem}` };
    const list = spawnSync(go, ['list', '-mod=mod', '-m', '-f', '{{.Dir}}', MODULE], {
      cwd: work,
      encoding: 'utf8',
    });
    const rootfs = join(work, 'rootfs-amd64.tar.gz');
    copyFileSync(join(list.stdout.trim(), 'rootfs-amd64.tar.gz'), rootfs);
    chmodSync(rootfs, 0o644);
    if (!existsSync(directory)) renameSync(work, directory);
    return { directory };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** What it said if it failed; programs without C, so that they run inside of any root file system. */
function runGo(go: string, cwd: string, args: readonly string[]): string | undefined {
  const env = { ...process.env, CGO_ENABLED: '0', GOFLAGS: '' };
  const { status, stderr } = spawnSync(go, args, { cwd, env, encoding: 'utf8' });
  return status === 0 ? undefined : stderr.trim().split('\n').slice(-3).join('; ');
}
