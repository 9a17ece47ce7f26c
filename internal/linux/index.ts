/**
 * The face of internal/linux, the only place that knows system call numbers, flags and structs.
 *
 * `steps` are the system calls of a program that runs in a cloned child; the functions beside them
 * run in this process.
 */
export * from './bpf.ts';
export * from './bpf-instructions.ts';
export * from './constants/index.ts';
export * from './deliver-fds.ts';
export * from './descriptor-io.ts';
export * as entry from './entry.ts';
export * from './eventfd.ts';
export * from './exit.ts';
export * from './fd.ts';
export * from './fd-watch.ts';
export * from './fifo.ts';
export * from './flock.ts';
export * from './idmapped-layers.ts';
export * from './kill.ts';
export * from './libseccomp.ts';
export * from './malloc.ts';
export * from './memfd.ts';
export * from './mount.ts';
export * from './mount-tree.ts';
export * from './mount-words.ts';
export * from './mountinfo.ts';
export * from './operation.ts';
export * from './own-status.ts';
export * from './pidfd.ts';
export * from './pipe.ts';
export * from './poll.ts';
export * from './process-attributes.ts';
export * from './process-tree.ts';
export * from './program/index.ts';
export * from './pty.ts';
export * from './rlimit.ts';
export * from './route-netlink.ts';
export * from './run-in-child.ts';
export * from './seccomp-program.ts';
export * from './signal-mask.ts';
export * from './socket-pair.ts';
export * from './statfs.ts';
export * as steps from './steps/index.ts';
export * from './unix-socket.ts';
export * from './unknown-syscalls.ts';
export * from './user-namespace.ts';
export * from './wait.ts';
export * from './xattr.ts';
