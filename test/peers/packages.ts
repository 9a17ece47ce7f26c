// What the integration tests run beside our programs: the originals, from two Debian releases side by side, so that old
// and new clients are both covered, and the tools that judge our machine code and our binaries.

/** Packages of one Debian release, unpacked into one directory. */
export interface Suite {
  readonly release: 'bookworm' | 'sid';
  /** Debian's name of an architecture other than this machine's. */
  readonly architecture?: 'arm64';
  readonly packages: readonly string[];
}

/** Programs of a Go module, built by a Go compiler of this machine. */
export interface GoSuite {
  readonly module: string;
  readonly version: string;
  /** Packages of the module that are programs, and such that are tests, which become programs too; into `bin`. */
  readonly programs: readonly string[];
  readonly tests: readonly string[];
  /** Variables of the programs that a linker sets (`-X`). */
  readonly variables: readonly string[];
}

/**
 * Libraries are named too: a suite is complete in itself, so that its programs run on a machine with another release.
 * `sid` has the newest containerd, `bookworm` the oldest that is still in wide use.
 */
export const suites = {
  bookworm: {
    release: 'bookworm',
    packages: [
      ...['containerd', 'runc', 'docker-registry', 'busybox-static', 'strace', 'patchelf', 'time'],
      ...['binutils', 'binutils-common', 'binutils-x86-64-linux-gnu', 'binutils-aarch64-linux-gnu'],
      ...['libbinutils', 'libctf0', 'libctf-nobfd0', 'libjansson4', 'libzstd1', 'zlib1g'],
      ...['libc6', 'libgcc-s1', 'libstdc++6', 'libseccomp2', 'libunwind8', 'liblzma5'],
      'qemu-user-static',
    ],
  },
  sid: {
    release: 'sid',
    packages: [
      ...['containerd', 'runc', 'crun'],
      ...['libc6', 'libgcc-s1', 'libseccomp2', 'libsystemd0', 'libcap2'],
      ...['libjson-c5', 'libblake3-0'],
    ],
  },
  // Engines above a runtime; containerd and runc, which Docker starts, are those of the two suites above.
  'docker-bookworm': {
    release: 'bookworm',
    packages: [
      ...['docker.io', 'tini', 'iptables'],
      ...['libc6', 'libgcc-s1', 'libdevmapper1.02.1', 'libsystemd0', 'libudev1', 'libselinux1'],
      ...['libpcre2-8-0', 'libcap2', 'libgcrypt20', 'libgpg-error0', 'liblz4-1', 'liblzma5'],
      ...['libzstd1', 'libip4tc2', 'libip6tc2', 'libxtables12', 'libmnl0', 'libnftnl11'],
      ...['libnetfilter-conntrack3', 'libnfnetlink0'],
    ],
  },
  'docker-sid': {
    release: 'sid',
    packages: [
      ...['docker.io', 'docker-cli', 'tini-static', 'iptables'],
      ...['libc6', 'libgcc-s1', 'libsystemd0', 'libcap2', 'libip4tc2', 'libip6tc2', 'libxtables12'],
      ...['libmnl0', 'libnftnl11', 'libnetfilter-conntrack3', 'libnfnetlink0'],
    ],
  },
  // Podman 4 and 5, with the monitor that they start between themselves and the runtime.
  'podman-bookworm': {
    release: 'bookworm',
    packages: [
      ...['podman', 'conmon', 'catatonit', 'netavark', 'golang-github-containers-common'],
      ...['golang-github-containers-image', 'uidmap', 'fuse-overlayfs'],
      ...['libc6', 'libgcc-s1', 'libdevmapper1.02.1', 'libgpgme11', 'libassuan0', 'libgpg-error0'],
      ...['libseccomp2', 'libsubid4', 'libglib2.0-0', 'libpcre2-8-0', 'libsystemd0', 'libudev1'],
      ...['libselinux1', 'libcap2', 'libcap-ng0', 'libgcrypt20', 'liblz4-1', 'liblzma5'],
      ...['libzstd1', 'libaudit1', 'libfuse3-3'],
    ],
  },
  'podman-sid': {
    release: 'sid',
    packages: [
      ...['podman', 'conmon', 'catatonit', 'netavark', 'golang-github-containers-common'],
      ...['golang-github-containers-image', 'uidmap', 'fuse-overlayfs'],
      ...['libc6', 'libgcc-s1', 'libgpgme45', 'libassuan9', 'libgpg-error0', 'libseccomp2'],
      ...['libsqlite3-0', 'libsubid6', 'libglib2.0-0t64', 'libpcre2-8-0', 'libsystemd0'],
      ...['libselinux1', 'libcap2', 'libcap-ng0', 'libaudit1', 'libbsd0', 'libmd0', 'libfuse3-4'],
    ],
  },
  // Of sid alone: bookworm's does not know the kernels of today. With all that it is linked to.
  criu: {
    release: 'sid',
    packages: [
      ...['criu', 'libc6', 'libbsd0', 'libmd0', 'libnet9', 'libnl-3-200', 'libprotobuf-c1'],
      ...['libnftables1', 'libnftnl11', 'libmnl0', 'libxtables12', 'libjansson4', 'libuuid1'],
      ...['libgnutls30t64', 'libp11-kit0', 'libffi8', 'libidn2-0', 'libunistring5', 'libtasn1-6'],
      ...['libhogweed6t64', 'libnettle8t64', 'libgmp10', 'libedit2', 'libtinfo6'],
      ...['libbrotli1', 'libzstd1', 'zlib1g', 'libdrm2'],
    ],
  },
  // gVisor, a kernel of its own for each container, behind the command line of an OCI runtime.
  gvisor: { release: 'bookworm', packages: ['runsc'] },
  // The setuid helpers of rootless containers, and what tells a user's ranges.
  uidmap: {
    release: 'bookworm',
    packages: [
      ...['uidmap', 'libsubid4', 'libselinux1', 'libpcre2-8-0', 'libaudit1', 'libcap-ng0', 'libc6'],
    ],
  },
  // Networks of pods: the reference plugins, and what portmap starts. Of sid alone, for version 1.1 of the specification.
  cni: {
    release: 'sid',
    packages: [
      ...['containernetworking-plugins', 'iptables', 'libc6', 'libip4tc2', 'libip6tc2'],
      ...['libxtables12', 'libmnl0', 'libnftnl11', 'libnetfilter-conntrack3', 'libnfnetlink0'],
    ],
  },
  // The client of the CRI, and its conformance suite.
  'cri-tools': {
    module: 'sigs.k8s.io/cri-tools',
    version: 'v1.36.0',
    programs: ['cmd/crictl'],
    tests: ['cmd/critest'],
    variables: ['pkg/version.Version=1.36.0'],
  },
  // Clients of a kubelet's streams: the old one speaks SPDY alone, the new one WebSocket first.
  'kubectl-sid': { release: 'sid', packages: ['kubectl', 'libc6'] },
  'kubectl-bookworm': { release: 'bookworm', packages: ['kubernetes-client', 'libc6'] },
  // What the images of critest are made of: a web server whose processes and logs it looks at, and a busybox whose shell,
  // unlike the static one's, looks for programs in the file system.
  'critest-images': {
    release: 'bookworm',
    packages: ['nginx', 'busybox', 'libc6', 'libcrypt1', 'libpcre2-8-0', 'libssl3', 'zlib1g'],
  },
  // What the devmapper snapshotter speaks to the kernel with. The virtual machine, which lacks the libraries, runs it too:
  // so it is of the release whose programs bring theirs along.
  devmapper: {
    release: 'sid',
    packages: [
      ...['dmsetup', 'libdevmapper1.02.1', 'libselinux1', 'libpcre2-8-0', 'libudev1', 'libcap2'],
      'libc6',
    ],
  },
  // Makes the file system that the btrfs snapshotter is tested on.
  btrfs: {
    release: 'bookworm',
    packages: [
      ...['btrfs-progs', 'libblkid1', 'liblzo2-2', 'libudev1', 'libuuid1', 'zlib1g', 'libzstd1'],
      'libc6',
    ],
  },
  // What programs of ours for arm64 are linked to, for QEMU (its option -L).
  arm64: {
    release: 'bookworm',
    architecture: 'arm64',
    packages: ['libc6', 'libgcc-s1', 'libstdc++6', 'libatomic1'],
  },
} as const satisfies Record<string, Suite | GoSuite>;

/** The name of a suite that peers are taken from. */
export type SuiteName = keyof typeof suites;

/** A peer: where its file is inside a suite. */
interface PeerFile {
  readonly suite: SuiteName;
  readonly file: string;
}

/** The peers by the names that tests use. Versions are those of the releases: 2.1 stands for sid's, 1.6 for bookworm's. */
export const peerFiles = {
  'containerd-2.1': { suite: 'sid', file: 'usr/bin/containerd' },
  'ctr-2.1': { suite: 'sid', file: 'usr/bin/ctr' },
  'containerd-shim-runc-v2-2.1': { suite: 'sid', file: 'usr/bin/containerd-shim-runc-v2' },
  'containerd-1.6': { suite: 'bookworm', file: 'usr/bin/containerd' },
  'ctr-1.6': { suite: 'bookworm', file: 'usr/bin/ctr' },
  'containerd-shim-runc-v2-1.6': { suite: 'bookworm', file: 'usr/bin/containerd-shim-runc-v2' },
  'runc-1.3': { suite: 'sid', file: 'usr/sbin/runc' },
  'runc-1.1': { suite: 'bookworm', file: 'usr/sbin/runc' },
  crun: { suite: 'sid', file: 'usr/bin/crun' },
  runsc: { suite: 'gvisor', file: 'usr/bin/runsc' },
  criu: { suite: 'criu', file: 'usr/sbin/criu' },
  recvtty: { suite: 'sid', file: 'usr/sbin/recvtty' },
  newuidmap: { suite: 'uidmap', file: 'usr/bin/newuidmap' },
  newgidmap: { suite: 'uidmap', file: 'usr/bin/newgidmap' },
  crictl: { suite: 'cri-tools', file: 'bin/crictl' },
  critest: { suite: 'cri-tools', file: 'bin/critest' },
  kubectl: { suite: 'kubectl-sid', file: 'usr/bin/kubectl' },
  'kubectl-1.20': { suite: 'kubectl-bookworm', file: 'usr/bin/kubectl' },
  // The directory of the plugins is that of any of them.
  'cni-bridge': { suite: 'cni', file: 'usr/lib/cni/bridge' },
  'docker-registry': { suite: 'bookworm', file: 'usr/bin/docker-registry' },
  busybox: { suite: 'bookworm', file: 'bin/busybox' },
  'docker-28': { suite: 'docker-sid', file: 'usr/bin/docker' },
  'dockerd-28': { suite: 'docker-sid', file: 'usr/sbin/dockerd' },
  'docker-20': { suite: 'docker-bookworm', file: 'usr/bin/docker' },
  'dockerd-20': { suite: 'docker-bookworm', file: 'usr/sbin/dockerd' },
  'podman-5': { suite: 'podman-sid', file: 'usr/bin/podman' },
  'podman-4': { suite: 'podman-bookworm', file: 'usr/bin/podman' },
  nginx: { suite: 'critest-images', file: 'usr/sbin/nginx' },
  'busybox-dynamic': { suite: 'critest-images', file: 'bin/busybox' },
  'iptables-nft': { suite: 'cni', file: 'usr/sbin/xtables-nft-multi' },
  'mkfs-btrfs': { suite: 'btrfs', file: 'sbin/mkfs.btrfs' },
  dmsetup: { suite: 'devmapper', file: 'usr/sbin/dmsetup' },
  time: { suite: 'bookworm', file: 'usr/bin/time' },
  strace: { suite: 'bookworm', file: 'usr/bin/strace' },
  objdump: { suite: 'bookworm', file: 'usr/bin/x86_64-linux-gnu-objdump' },
  'objdump-aarch64': { suite: 'bookworm', file: 'usr/bin/aarch64-linux-gnu-objdump' },
  readelf: { suite: 'bookworm', file: 'usr/bin/x86_64-linux-gnu-readelf' },
  'loader-aarch64': { suite: 'arm64', file: 'lib/ld-linux-aarch64.so.1' },
  'qemu-aarch64': { suite: 'bookworm', file: 'usr/bin/qemu-aarch64-static' },
} as const satisfies Record<string, PeerFile>;

/** The name of a peer. */
export type PeerName = keyof typeof peerFiles;

/** Parts of packages that are large and never used. */
export const leftOut =
  /^usr\/(share\/(doc|man|locale|info)|lib\/debug)\/|\/qemu-(?!aarch64-static$)[^/]*$/;
