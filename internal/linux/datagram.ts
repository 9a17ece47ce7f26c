import { combine } from './constants/flags.ts';
import { MessageFlag, SocketDomain, SocketType } from './constants/socket.ts';
import { OwnedFd } from './fd.ts';
import { restartedSyscall, syscall } from './syscall.ts';

/**
 * Sends one datagram to a unix socket: at a path or, when `target` begins with `@`, in the
 * abstract namespace. Waits while the receiver's queue is full.
 */
export function sendDatagram(target: string, data: string): void {
  const type = combine(SocketType, ['SOCK_DGRAM', 'SOCK_CLOEXEC']);
  using socket = new OwnedFd(
    syscall(() => 'create datagram socket', 'socket', SocketDomain.AF_UNIX, type, 0),
  );
  const isAbstract = target.startsWith('@');
  const name = Buffer.from(isAbstract ? `\0${target.slice(1)}` : `${target}\0`);
  const family = Buffer.alloc(2);
  family.writeUInt16LE(SocketDomain.AF_UNIX);
  const address = Buffer.concat([family, name]);
  const bytes = Buffer.from(data);
  restartedSyscall(
    () => `send to ${target}`,
    'sendto',
    socket.number,
    bytes,
    bytes.length,
    MessageFlag.MSG_NOSIGNAL,
    address,
    address.length,
  );
}
