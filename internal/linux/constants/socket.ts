/** Socket numbers (asm-generic/socket.h, linux/socket.h, linux/sockios.h). */
export const SocketDomain = { AF_UNIX: 1, AF_INET: 2, AF_INET6: 10, AF_NETLINK: 16 } as const;
/** socket(2) types, and the flags that may be added to them. */
export const SocketType = {
  SOCK_STREAM: 1,
  SOCK_DGRAM: 2,
  SOCK_RAW: 3,
  SOCK_SEQPACKET: 5,
  SOCK_NONBLOCK: 0o4000,
  SOCK_CLOEXEC: 0o2000000,
} as const;
/** Level of socket options and control messages. */
export const SOL_SOCKET = 1;
/** Options of SOL_SOCKET. */
export const SocketOption = {
  SO_PASSCRED: 16,
  SO_PEERCRED: 17,
  SO_SNDTIMEO: 21,
  SO_PEERPIDFD: 77,
} as const;
/** Type of the control message that carries descriptors (man 7 unix). */
export const SCM_RIGHTS = 1;
/** Flags of sendmsg(2) and recvmsg(2). */
export const MessageFlag = {
  MSG_PEEK: 2,
  MSG_TRUNC: 0x20,
  MSG_CTRUNC: 8,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
  MSG_CMSG_CLOEXEC: 0x40000000,
} as const;
export type MessageFlag = keyof typeof MessageFlag;
/** ioctls of network interfaces (man 7 netdevice). */
export const InterfaceIoctl = { SIOCGIFFLAGS: 0x8913, SIOCSIFFLAGS: 0x8914 } as const;
/** Flags of a network interface. */
export const InterfaceFlag = { IFF_UP: 1, IFF_LOOPBACK: 8, IFF_RUNNING: 0x40 } as const;
