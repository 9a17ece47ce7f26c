import { combine } from './constants/flags.ts';
import { SocketDomain, SocketType } from './constants/socket.ts';
import { OwnedFd } from './fd.ts';
import { syscall } from './syscall.ts';

/** socketpair(2): two connected unix sockets, close-on-exec. A seqpacket keeps messages apart. */
export function socketPair(type: 'stream' | 'seqpacket' = 'stream'): [OwnedFd, OwnedFd] {
  const fds = new Int32Array(2);
  const name = type === 'stream' ? 'SOCK_STREAM' : 'SOCK_SEQPACKET';
  const types = combine(SocketType, [name, 'SOCK_CLOEXEC']);
  const bytes = new Uint8Array(fds.buffer);
  syscall(() => 'create socket pair', 'socketpair', SocketDomain.AF_UNIX, types, 0, bytes);
  return [new OwnedFd(fds[0] ?? -1), new OwnedFd(fds[1] ?? -1)];
}
