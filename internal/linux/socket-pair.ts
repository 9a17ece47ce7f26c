import { SocketDomain, SocketType } from './constants/socket.ts';
import { OwnedFd } from './fd.ts';
import { syscall } from './syscall.ts';

/** socketpair(2): two connected unix stream sockets, close-on-exec. */
export function socketPair(): [OwnedFd, OwnedFd] {
  const fds = new Int32Array(2);
  const type = SocketType.SOCK_STREAM | SocketType.SOCK_CLOEXEC;
  const bytes = new Uint8Array(fds.buffer);
  syscall(() => 'create socket pair', 'socketpair', SocketDomain.AF_UNIX, type, 0, bytes);
  return [new OwnedFd(fds[0] ?? -1), new OwnedFd(fds[1] ?? -1)];
}
