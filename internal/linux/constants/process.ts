/** Namespaces by the names of runtime-spec config-linux.md#namespaces; CLONE_NEW* of linux/sched.h. */
export const Namespace = {
  mount: 0x00020000,
  cgroup: 0x02000000,
  uts: 0x04000000,
  ipc: 0x08000000,
  user: 0x10000000,
  pid: 0x20000000,
  network: 0x40000000,
  time: 0x00000080,
} as const;
export type Namespace = keyof typeof Namespace;

/** The kernel's names of the namespace flags, for explanations. */
export const NAMESPACE_FLAG_NAMES: Readonly<Record<Namespace, string>> = {
  mount: 'CLONE_NEWNS',
  cgroup: 'CLONE_NEWCGROUP',
  uts: 'CLONE_NEWUTS',
  ipc: 'CLONE_NEWIPC',
  user: 'CLONE_NEWUSER',
  pid: 'CLONE_NEWPID',
  network: 'CLONE_NEWNET',
  time: 'CLONE_NEWTIME',
};

/** Other flags of clone3(2). CLONE_INTO_CGROUP and CLONE_CLEAR_SIGHAND do not fit into 32 bits. */
export const CloneFlag = {
  CLONE_PIDFD: 0x1000n,
  CLONE_PARENT: 0x8000n,
  CLONE_CLEAR_SIGHAND: 0x100000000n,
  CLONE_INTO_CGROUP: 0x200000000n,
} as const;
export type CloneFlag = keyof typeof CloneFlag;

/** prctl(2) operations (linux/prctl.h). */
export const PrctlOption = {
  PR_SET_PDEATHSIG: 1,
  PR_GET_DUMPABLE: 3,
  PR_SET_DUMPABLE: 4,
  PR_SET_KEEPCAPS: 8,
  PR_SET_NAME: 15,
  PR_CAPBSET_READ: 23,
  PR_CAPBSET_DROP: 24,
  PR_GET_SECUREBITS: 27,
  PR_SET_SECUREBITS: 28,
  PR_SET_MM: 35,
  PR_SET_CHILD_SUBREAPER: 36,
  PR_GET_CHILD_SUBREAPER: 37,
  PR_SET_NO_NEW_PRIVS: 38,
  PR_GET_NO_NEW_PRIVS: 39,
  PR_SET_THP_DISABLE: 41,
  PR_CAP_AMBIENT: 47,
  PR_SET_IO_FLUSHER: 57,
  PR_SET_MDWE: 65,
} as const;
export type PrctlOption = keyof typeof PrctlOption;

/** Operations of PR_SET_MM. */
export const MemoryMapOperation = { PR_SET_MM_MAP: 14, PR_SET_MM_MAP_SIZE: 15 } as const;

/** Operations of PR_CAP_AMBIENT. */
export const AmbientOperation = {
  PR_CAP_AMBIENT_IS_SET: 1,
  PR_CAP_AMBIENT_RAISE: 2,
  PR_CAP_AMBIENT_LOWER: 3,
  PR_CAP_AMBIENT_CLEAR_ALL: 4,
} as const;

/** Secure bits (linux/securebits.h, man 7 capabilities). */
export const SecureBit = {
  SECBIT_NOROOT: 1,
  SECBIT_NOROOT_LOCKED: 2,
  SECBIT_NO_SETUID_FIXUP: 4,
  SECBIT_NO_SETUID_FIXUP_LOCKED: 8,
  SECBIT_KEEP_CAPS: 16,
  SECBIT_KEEP_CAPS_LOCKED: 32,
  SECBIT_NO_CAP_AMBIENT_RAISE: 64,
  SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED: 128,
} as const;
export type SecureBit = keyof typeof SecureBit;

/** personality(2) domains that the runtime-spec knows (linux/personality.h). */
export const Personality = { LINUX: 0, LINUX32: 8 } as const;
export type Personality = keyof typeof Personality;

/** waitid(2) id types and options. */
export const WaitIdType = { P_ALL: 0, P_PID: 1, P_PGID: 2, P_PIDFD: 3 } as const;
/** What to wait for, and how (linux/wait.h). */
export const WaitOption = {
  WNOHANG: 1,
  WEXITED: 4,
  WNOWAIT: 0x01000000,
  __WALL: 0x40000000,
} as const;
export type WaitOption = keyof typeof WaitOption;

/** seccomp(2) (linux/seccomp.h). */
export const SeccompOperation = {
  SECCOMP_SET_MODE_STRICT: 0,
  SECCOMP_SET_MODE_FILTER: 1,
  SECCOMP_GET_ACTION_AVAIL: 2,
  SECCOMP_GET_NOTIF_SIZES: 3,
} as const;
/** Flags of SECCOMP_SET_MODE_FILTER. */
export const SeccompFlag = {
  SECCOMP_FILTER_FLAG_TSYNC: 1,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
  SECCOMP_FILTER_FLAG_NEW_LISTENER: 8,
  SECCOMP_FILTER_FLAG_TSYNC_ESRCH: 16,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: 32,
} as const;
export type SeccompFlag = keyof typeof SeccompFlag;

/** keyctl(2) operations (linux/keyctl.h). */
export const KeyctlOperation = {
  KEYCTL_GET_KEYRING_ID: 0,
  KEYCTL_JOIN_SESSION_KEYRING: 1,
  KEYCTL_SETPERM: 5,
  KEYCTL_DESCRIBE: 6,
} as const;
