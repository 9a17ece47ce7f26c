import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf, Memory } from '../program/argument.ts';
import { needsRoot, runInChild } from '../program/child-run.fixture.ts';
import { explainStep, type Step } from '../program/step.ts';
import { setCpuAffinity, setMemoryPolicy } from './affinity.ts';
import {
  clearAmbientSet,
  dropFromBoundingSet,
  dropNumberFromBoundingSet,
  keepCapabilities,
  raiseAmbient,
  setCapabilities,
  setGid,
  setGroups,
  setParentDeathSignal,
  setSecureBits,
  setUid,
} from './credentials.ts';
import {
  chmod,
  chmodFd,
  chown,
  close,
  closeFrom,
  createMemfd,
  duplicate,
  makeDirectory,
  makeNode,
  makeSymlink,
  open,
  read,
  setCloseOnExec,
  unlink,
  waitForBytes,
  write,
} from './files.ts';
import {
  configureFileSystem,
  configureFileSystemFd,
  createFileSystem,
  mount,
  mountFileSystem,
  moveMount,
  openFileSystem,
  openTree,
  pivotRoot,
  setMountAttributes,
  unmount,
} from './mounts.ts';
import { cloneProcess, joinNamespace, joinNamespacesOf, unshare } from './namespaces.ts';
import {
  changeDirectory,
  changeDirectoryToFd,
  changeRoot,
  execute,
  setControllingTerminal,
  setDomainname,
  setHostname,
  setIoPriority,
  setPersonality,
  setResourceLimit,
  setScheduler,
  setSession,
  stringArray,
  waitForChild,
} from './processes.ts';
import { joinSessionKeyring, setSeccompFilter } from './security.ts';
import { connectUnix, createSocket } from './sockets.ts';

const none = '/nonexistent/x';
const badFd = 9999;
const noArgs = stringArray([]);

/**
 * Every step, as it explains itself and as it is reported when it fails. Each one runs alone, in a
 * child of its own.
 */
const FAILURES: readonly (readonly [step: Step, call: string, message: string])[] = [
  [
    cloneProcess({ namespaces: ['pid', 'network'], cgroup: badFd }),
    'clone3({flags=CLONE_NEWPID|CLONE_NEWNET|CLONE_CLEAR_SIGHAND|CLONE_INTO_CGROUP, exit_signal=SIGCHLD, cgroup=9999}, 88)',
    'clone process with new pid, network namespaces: EBADF',
  ],
  [
    unshare(['mount', 'time']),
    'unshare(CLONE_NEWNS|CLONE_NEWTIME)',
    'create new mount, time namespaces: EPERM',
  ],
  [
    joinNamespace(badFd, 'network', '/run/netns/a'),
    'setns(9999, CLONE_NEWNET)',
    'join network namespace /run/netns/a: EBADF',
  ],
  [
    joinNamespacesOf(badFd, ['mount', 'uts']),
    'setns(9999, CLONE_NEWNS|CLONE_NEWUTS)',
    'join mount, uts namespaces of a process: EBADF',
  ],
  [
    mount({
      source: 'proc',
      target: none,
      type: 'proc',
      flags: ['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'],
    }),
    'mount("proc", "/nonexistent/x", "proc", MS_NOSUID|MS_NODEV|MS_NOEXEC, NULL)',
    'mount proc on /nonexistent/x: ENOENT',
  ],
  [
    mount({ target: none, flags: ['MS_REMOUNT', 'MS_RDONLY'], data: 'size=1k' }),
    'mount(NULL, "/nonexistent/x", NULL, MS_REMOUNT|MS_RDONLY, "size=1k")',
    'remount on /nonexistent/x: ENOENT',
  ],
  [
    mount({ target: none, flags: ['MS_REC', 'MS_PRIVATE'] }),
    'mount(NULL, "/nonexistent/x", NULL, MS_REC|MS_PRIVATE, NULL)',
    'make /nonexistent/x private: ENOENT',
  ],
  [
    unmount(none, ['MNT_DETACH', 'UMOUNT_NOFOLLOW']),
    'umount2("/nonexistent/x", MNT_DETACH|UMOUNT_NOFOLLOW)',
    'unmount /nonexistent/x: ENOENT',
  ],
  [
    pivotRoot(none, '.'),
    'pivot_root("/nonexistent/x", ".")',
    'pivot_root to /nonexistent/x: ENOENT',
  ],
  [
    openTree({ path: none, flags: ['OPEN_TREE_CLONE', 'AT_RECURSIVE'] }),
    'open_tree(AT_FDCWD, "/nonexistent/x", OPEN_TREE_CLONE|AT_RECURSIVE)',
    'copy mount /nonexistent/x: ENOENT',
  ],
  [
    moveMount({ from: badFd, toPath: none }),
    'move_mount(9999, "", AT_FDCWD, "/nonexistent/x", MOVE_MOUNT_F_EMPTY_PATH)',
    'attach mount at /nonexistent/x: ENOENT',
  ],
  [openFileSystem('nofs'), 'fsopen("nofs", FSOPEN_CLOEXEC)', 'open file system nofs: ENODEV'],
  [
    configureFileSystem(badFd, 'size', '1k'),
    'fsconfig(9999, FSCONFIG_SET_STRING, "size", "1k", 0)',
    'set file system option size=1k: EBADF',
  ],
  [
    configureFileSystem(badFd, 'ro'),
    'fsconfig(9999, FSCONFIG_SET_FLAG, "ro", NULL, 0)',
    'set file system option ro: EBADF',
  ],
  [
    configureFileSystemFd(badFd, 'source', 5),
    'fsconfig(9999, FSCONFIG_SET_FD, "source", NULL, 5)',
    'set file system option source: EBADF',
  ],
  [
    createFileSystem(badFd),
    'fsconfig(9999, FSCONFIG_CMD_CREATE, NULL, NULL, 0)',
    'create file system: EBADF',
  ],
  [
    mountFileSystem(badFd, ['MOUNT_ATTR_NODEV']),
    'fsmount(9999, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV)',
    'mount file system: EBADF',
  ],
  [
    setMountAttributes({
      path: none,
      recursive: true,
      change: { set: ['MOUNT_ATTR_RDONLY'], propagation: 'MS_SLAVE' },
    }),
    'mount_setattr(AT_FDCWD, "/nonexistent/x", AT_SYMLINK_NOFOLLOW|AT_RECURSIVE, {set=MOUNT_ATTR_RDONLY, clear=0, propagation=MS_SLAVE}, 32)',
    'set mount attributes of /nonexistent/x: ENOENT',
  ],
  [
    open({
      path: '/etc',
      flags: ['O_WRONLY', 'O_CREAT'],
      mode: 0o644,
      resolve: ['RESOLVE_NO_XDEV'],
    }),
    'openat2(AT_FDCWD, "/etc", {O_WRONLY|O_CREAT|O_CLOEXEC, 0644, RESOLVE_NO_XDEV}, 24)',
    'open /etc: EISDIR',
  ],
  [makeDirectory('/'), 'mkdirat(AT_FDCWD, "/", 0755)', 'mkdir /: EEXIST'],
  [
    makeNode({ path: none, type: 'S_IFCHR', mode: 0o666, major: 1, minor: 3 }),
    'mknodat(AT_FDCWD, "/nonexistent/x", S_IFCHR|0666, makedev(1, 3))',
    'mknod /nonexistent/x: ENOENT',
  ],
  [
    makeSymlink('target', none),
    'symlinkat("target", AT_FDCWD, "/nonexistent/x")',
    'symlink /nonexistent/x: ENOENT',
  ],
  [
    unlink(none, { flags: ['AT_REMOVEDIR'] }),
    'unlinkat(AT_FDCWD, "/nonexistent/x", AT_REMOVEDIR)',
    'unlink /nonexistent/x: ENOENT',
  ],
  [
    chown({ path: none, uid: 1, gid: 2 }),
    'fchownat(AT_FDCWD, "/nonexistent/x", 1, 2, AT_SYMLINK_NOFOLLOW)',
    'chown /nonexistent/x: ENOENT',
  ],
  [
    chown({ directory: badFd, uid: 1, gid: 2 }),
    'fchownat(9999, "", 1, 2, AT_EMPTY_PATH)',
    'chown an fd: EBADF',
  ],
  [
    chmod(none, 0o755),
    'fchmodat(AT_FDCWD, "/nonexistent/x", 0755)',
    'chmod /nonexistent/x: ENOENT',
  ],
  [chmodFd(badFd, 0o755), 'fchmod(9999, 0755)', 'chmod an fd: EBADF'],
  [
    duplicate(badFd, 0, { closeOnExec: true }),
    'dup3(9999, 0, O_CLOEXEC)',
    'duplicate an fd: EBADF',
  ],
  [close(badFd), 'close(9999)', 'close an fd: EBADF'],
  [setCloseOnExec(badFd, false), 'fcntl(9999, F_SETFD, 0)', 'clear close-on-exec: EBADF'],
  [waitForBytes(badFd), 'read(9999, buffer, 1)', 'wait for a message: EBADF'],
  [read(badFd, new Memory(5, () => 'five')), 'read(9999, five, 5)', 'read: EBADF'],
  [write(badFd, 'ä'), 'write(9999, "ä", 2)', 'write: EBADF'],
  [
    createMemfd('x'.repeat(250)),
    `memfd_create("${'x'.repeat(250)}", MFD_CLOEXEC)`,
    `create memfd ${'x'.repeat(250)}: EINVAL`,
  ],
  [setGroups([7, 8]), 'setgroups(2, {7, 8})', 'set supplementary groups: EPERM'],
  [setUid(5), 'setresuid(5, 5, 5)', 'set uid 5: EPERM'],
  [setGid(5), 'setresgid(5, 5, 5)', 'set gid 5: EPERM'],
  [
    setCapabilities({
      effective: ['CAP_SYS_ADMIN'],
      permitted: ['CAP_SYS_ADMIN', 'CAP_BPF'],
      inheritable: [],
    }),
    'capset({_LINUX_CAPABILITY_VERSION_3}, {effective=0x200000, permitted=0x8000200000, inheritable=0x0})',
    'set capabilities: EPERM',
  ],
  [
    dropFromBoundingSet('CAP_KILL'),
    'prctl(PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0)',
    'drop CAP_KILL from the bounding set: EPERM',
  ],
  [
    dropNumberFromBoundingSet(63),
    'prctl(PR_CAPBSET_DROP, 63, 0, 0, 0)',
    'drop capability 63 from the bounding set: EPERM',
  ],
  [
    raiseAmbient('CAP_KILL'),
    'prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0)',
    'raise CAP_KILL in the ambient set: EPERM',
  ],
  [
    setSecureBits(['SECBIT_NOROOT', 'SECBIT_NOROOT_LOCKED']),
    'prctl(PR_SET_SECUREBITS, SECBIT_NOROOT|SECBIT_NOROOT_LOCKED, 0, 0, 0)',
    'set securebits: EPERM',
  ],
  [setControllingTerminal(badFd), 'ioctl(9999, TIOCSCTTY, 0)', 'set controlling terminal: EBADF'],
  [changeDirectory(none), 'chdir("/nonexistent/x")', 'chdir /nonexistent/x: ENOENT'],
  [changeDirectoryToFd(badFd), 'fchdir(9999)', 'chdir to an fd: EBADF'],
  [changeRoot(none), 'chroot("/nonexistent/x")', 'chroot /nonexistent/x: ENOENT'],
  [
    setResourceLimit('RLIMIT_NOFILE', 6n, 5n),
    'prlimit64(0, RLIMIT_NOFILE, {6, 5}, NULL)',
    'set RLIMIT_NOFILE: EINVAL',
  ],
  [
    setResourceLimit('RLIMIT_CORE', 0n, 2n ** 64n - 1n),
    'prlimit64(0, RLIMIT_CORE, {0, RLIM_INFINITY}, NULL)',
    'set RLIMIT_CORE: EPERM',
  ],
  [
    setScheduler({ policy: 'SCHED_FIFO', priority: 1000, flags: ['SCHED_FLAG_RESET_ON_FORK'] }),
    'sched_setattr(0, {SCHED_FIFO, SCHED_FLAG_RESET_ON_FORK, nice=0, priority=1000}, 0)',
    'set scheduler SCHED_FIFO: EINVAL',
  ],
  [
    setIoPriority('IOPRIO_CLASS_RT', 1),
    'ioprio_set(IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_RT<<13|1)',
    'set I/O priority IOPRIO_CLASS_RT: EPERM',
  ],
  [
    setHostname('a'.repeat(65)),
    `sethostname("${'a'.repeat(65)}", 65)`,
    `set hostname ${'a'.repeat(65)}: EPERM`,
  ],
  [setDomainname('b'), 'setdomainname("b", 1)', 'set domainname b: EPERM'],
  [
    execute('/etc/passwd', stringArray(['a', 'b c']), noArgs),
    'execve("/etc/passwd", ["a","b c"], [])',
    'exec /etc/passwd: EACCES',
  ],
  [setCpuAffinity([1023]), 'sched_setaffinity(0, 128, {1023})', 'set CPU affinity: EINVAL'],
  [
    setMemoryPolicy('MPOL_BIND', [0, 63], ['MPOL_F_STATIC_NODES', 'MPOL_F_RELATIVE_NODES']),
    'set_mempolicy(MPOL_BIND|MPOL_F_STATIC_NODES|MPOL_F_RELATIVE_NODES, {0, 63}, 65)',
    'set memory policy MPOL_BIND: EINVAL',
  ],
  [waitForChild(1), 'wait4(1, NULL, __WALL, NULL)', 'wait for the child: ECHILD'],
  [
    setSeccompFilter(new Uint8Array(8), ['SECCOMP_FILTER_FLAG_LOG']),
    'seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, {1 instructions})',
    'set seccomp filter: EACCES',
  ],
  [
    connectUnix(badFd, none),
    'connect(9999, {AF_UNIX, "/nonexistent/x"}, 110)',
    'connect to /nonexistent/x: EBADF',
  ],
];

/** Those that root is allowed to do run as somebody else, without privileges. */
const UNPRIVILEGED_UID = 65534;

for (const [step, call, message] of FAILURES) {
  test(`${step.call}: ${message}`, { skip: needsRoot }, () => {
    assert.equal(explainStep(step), call);
    const { failure, exit } = runInChild((child) => {
      if (message.endsWith(': EPERM') || step.call === 'seccomp') {
        if (step.call === 'prlimit64') child.add(setResourceLimit('RLIMIT_CORE', 0n, 0n));
        child.add(setGid(UNPRIVILEGED_UID));
        child.add(setUid(UNPRIVILEGED_UID));
      }
      child.add(step);
    });
    assert.equal(failure?.message, message);
    assert.equal(failure?.fields['call'], call);
    assert.equal(exit?.status, 1);
  });
}

test('steps that succeed: what they change is seen by the program that is executed', {
  skip: needsRoot,
}, () => {
  const script = [
    'test "$(hostname)" = web',
    'test "$(ulimit -n)" = 64',
    'test "$(umask)" = 0077',
    'test "$(id -u):$(id -g):$(id -G)" = 5:6:"6 7"',
    'grep -q "^CapBnd:.0000000000000020$" /proc/self/status',
    'grep -q "^CapAmb:.0000000000000020$" /proc/self/status',
    'grep -q "^Cpus_allowed_list:.0$" /proc/self/status',
    'grep -q "^NoNewPrivs:.1$" /proc/self/status',
    'test "$(awk "{print \\$6}" /proc/self/stat)" = $$',
    'test "$(pwd -P)" = /usr',
    'test "$(readlink /proc/self/ns/uts)" != "$HOST_UTS"',
    'exit 33',
  ].join(' || exit 1\n');
  const { failure, exit } = runInChild(
    (child) => {
      child.add(setSession());
      child.add(setHostname('web'));
      child.add({ label: 'umask', call: 'umask', args: [0o77] });
      child.add(changeDirectory('/usr'));
      child.add(setResourceLimit('RLIMIT_NOFILE', 64n, 64n));
      child.add(setPersonality('LINUX'));
      child.add(setIoPriority('IOPRIO_CLASS_BE', 5));
      child.add(setScheduler({ policy: 'SCHED_BATCH', nice: 3 }));
      child.add(setParentDeathSignal('SIGKILL'));
      child.add(setCpuAffinity([0, 70]));
      child.add(setMemoryPolicy('MPOL_LOCAL'), { tolerate: 'ENOSYS' });
      for (let capability = 0; capability <= 40; capability++) {
        if (capability !== 5) child.add(dropNumberFromBoundingSet(capability));
      }
      child.add(keepCapabilities(true));
      child.add(setGroups([7]));
      child.add(setGid(6));
      child.add(setUid(5));
      const sets = ['CAP_KILL'] as const;
      child.add(setCapabilities({ effective: sets, permitted: sets, inheritable: sets }));
      child.add(clearAmbientSet());
      child.add(raiseAmbient('CAP_KILL'));
      child.add({ label: 'no_new_privs', call: 'prctl', args: [38, 1, 0, 0, 0] });
      child.add(closeFrom(3, 'on exec'));
      const env = stringArray(['PATH=/bin:/usr/bin']);
      child.add(execute('/bin/sh', stringArray(['sh', '-c', script]), env));
    },
    { namespaces: ['uts', 'mount'] },
  );
  assert.equal(failure?.message, undefined);
  assert.equal(exit?.status, 33);
});

test('open: RESOLVE_IN_ROOT keeps symlinks and `..` below the directory', {
  skip: needsRoot,
}, () => {
  const target = (path: string) => {
    const { announced, failure } = runInChild(
      (child, reportTo) => {
        child.add(mount({ target: '/', flags: ['MS_REC', 'MS_PRIVATE'] }));
        child.add(mount({ source: 'tmpfs', target: '/mnt', type: 'tmpfs' }));
        child.add(makeSymlink('/etc/passwd', '/mnt/link'));
        const root = child.add(open({ path: '/mnt', flags: ['O_PATH'] }), { as: 'root' });
        const resolve = ['RESOLVE_IN_ROOT'] as const;
        child.add(open({ directory: root, path, flags: ['O_RDONLY'], resolve }));
        child.announce('opened', reportTo);
      },
      { namespaces: ['mount'] },
    );
    return failure?.message ?? announced[0]?.[0];
  };
  assert.equal(target('link'), 'open link: ENOENT');
  assert.equal(target('../etc/passwd'), 'open ../etc/passwd: ENOENT');
  assert.equal(target('../../..'), 'opened');
});

test('mounts by fd: a tmpfs is made, changed, attached and found', { skip: needsRoot }, () => {
  const { failure } = runInChild(
    (child) => {
      child.add(mount({ target: '/', flags: ['MS_REC', 'MS_PRIVATE'] }));
      const context = child.add(openFileSystem('tmpfs'), { as: 'context' });
      child.add(configureFileSystem(context, 'size', '64k'));
      child.add(createFileSystem(context));
      const tmpfs = child.add(mountFileSystem(context, ['MOUNT_ATTR_NOSUID']), { as: 'tmpfs' });
      child.add(setMountAttributes({ directory: tmpfs, change: { set: ['MOUNT_ATTR_RDONLY'] } }));
      child.add(moveMount({ from: tmpfs, toPath: '/mnt' }));
      child.add(makeDirectory('/mnt/new'), { label: 'mkdir on a read-only mount' });
    },
    { namespaces: ['mount'] },
  );
  assert.equal(failure?.message, 'mkdir on a read-only mount: EROFS');
});

test('createSocket, joinSessionKeyring: give an fd and a serial number', () => {
  const { announced, failure } = runInChild((child, reportTo) => {
    const socket = child.add(createSocket('AF_UNIX', 'SOCK_STREAM'));
    child.announce('socket', reportTo, socket);
    const keyring = child.add(joinSessionKeyring('test'), {
      tolerate: ['ENOSYS', 'EPERM', 'EDQUOT'],
    });
    child.announce('keyring', reportTo, keyring);
  });
  assert.equal(failure, undefined);
  assert.ok(Number(announced[0]?.[1]) > 2);
  assert.notEqual(announced[1]?.[1], 0n);
});

test('bytesOf: text is UTF-8, bytes are counted', () => {
  assert.equal(bytesOf('ä').size, 2);
  assert.equal(bytesOf('a"b').text, '"a\\"b"');
  assert.equal(bytesOf(new Uint8Array(3)).text, '{3 bytes}');
});
