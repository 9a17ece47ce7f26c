import { TsError } from '../errors/index.ts';
import { combine } from './constants/flags.ts';
import {
  MessageFlag,
  SCM_RIGHTS,
  SOL_SOCKET,
  SocketDomain,
  SocketOption,
  SocketType,
} from './constants/socket.ts';
import { OwnedFd } from './fd.ts';
import { koffi } from './koffi.ts';
import { rawSyscall, restartedSyscall, syscall } from './syscall.ts';

/** sizeof(sockaddr_un.sun_path); the last byte is the NUL. */
const SUN_PATH_BYTES = 108;
const EAGAIN = 11;

function socketAddress(path: string): Buffer {
  const bytes = Buffer.from(path);
  if (bytes.length >= SUN_PATH_BYTES || bytes.includes(0) || bytes.length === 0) {
    throw new TsError(
      'InvalidArgument',
      `socket path ${JSON.stringify(path)} is not 1 to 107 bytes`,
    );
  }
  const address = Buffer.alloc(2 + SUN_PATH_BYTES);
  address.writeUInt16LE(SocketDomain.AF_UNIX, 0);
  bytes.copy(address, 2);
  return address;
}

function createSocket(types: readonly (keyof typeof SocketType)[]): OwnedFd {
  const type = combine(SocketType, [...types, 'SOCK_CLOEXEC']);
  return new OwnedFd(syscall(() => 'create socket', 'socket', SocketDomain.AF_UNIX, type, 0));
}

/** Connects a stream socket to a path. Blocks while the listener's queue is full. */
export function connectUnix(path: string): OwnedFd {
  const address = socketAddress(path);
  const socket = createSocket(['SOCK_STREAM']);
  try {
    syscall(() => `connect to ${path}`, 'connect', socket.number, address, address.length);
    return socket;
  } catch (thrown) {
    socket.close();
    throw thrown;
  }
}

/** As {@link connectUnix}, but a non-blocking socket; undefined while the listener's queue is full. */
export function connectUnixNow(path: string): OwnedFd | undefined {
  const address = socketAddress(path);
  const socket = createSocket(['SOCK_STREAM', 'SOCK_NONBLOCK']);
  const result = rawSyscall('connect', socket.number, address, address.length);
  if (result === 0) return socket;
  socket.close();
  if (result === -EAGAIN) return undefined;
  throw TsError.ofErrno(-result, `connect to ${path}`);
}

/** A listening, non-blocking stream socket at a path that must not exist yet. */
export function listenUnix(path: string, backlog = 16): OwnedFd {
  const address = socketAddress(path);
  const socket = createSocket(['SOCK_STREAM', 'SOCK_NONBLOCK']);
  try {
    syscall(() => `bind ${path}`, 'bind', socket.number, address, address.length);
    syscall(() => `listen on ${path}`, 'listen', socket.number, backlog);
    return socket;
  } catch (thrown) {
    socket.close();
    throw thrown;
  }
}

/** accept4(2); the connection is blocking. Wait with `waitReadable` first, else it throws EAGAIN. */
export function acceptUnix(listener: OwnedFd): OwnedFd {
  const flags = SocketType.SOCK_CLOEXEC;
  const operation = () => 'accept a connection';
  return new OwnedFd(restartedSyscall(operation, 'accept4', listener.number, null, null, flags));
}

/** Who is at the other end of a connected unix socket, as of connect(2) (SO_PEERCRED). */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** SO_PEERCRED of a connected unix socket. */
export function peerCredentials(fd: number): PeerCredentials {
  const ucred = Buffer.alloc(12);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(ucred.length);
  const option = SocketOption.SO_PEERCRED;
  syscall(() => 'get peer credentials', 'getsockopt', fd, SOL_SOCKET, option, ucred, length);
  return { pid: ucred.readInt32LE(0), uid: ucred.readUInt32LE(4), gid: ucred.readUInt32LE(8) };
}

const CMSG_HEADER_BYTES = 16;
const GREATEST_FD_COUNT = 16;
const MSGHDR_BYTES = 56;

/** Data and the descriptors that came with it. The receiver owns all of them. */
export interface FdMessage {
  readonly data: Buffer;
  readonly fds: readonly OwnedFd[];
}

/**
 * recvmsg(2) of up to `maxBytes` and of descriptors (SCM_RIGHTS), which are close-on-exec. Throws if
 * the peer sent more than 16 of them: those that did not fit are lost. An empty message without
 * descriptors is the end of the stream.
 */
export function receiveFds(socket: number, maxBytes = 4096): FdMessage {
  const data = Buffer.alloc(maxBytes);
  const control = Buffer.alloc(CMSG_HEADER_BYTES + GREATEST_FD_COUNT * 4);
  const header = messageHeader(data, control);
  const flags = MessageFlag.MSG_CMSG_CLOEXEC;
  const operation = () => 'receive file descriptors';
  const length = restartedSyscall(operation, 'recvmsg', socket, header, flags);
  const fds = controlFds(control, Number(header.readBigUInt64LE(40)));
  if ((header.readUInt32LE(48) & MessageFlag.MSG_CTRUNC) !== 0) {
    for (const fd of fds) fd.close();
    const limit = `more than ${GREATEST_FD_COUNT} in one message`;
    throw new TsError('ResourceExhausted', `receive file descriptors: ${limit}`);
  }
  return { data: data.subarray(0, length), fds };
}

/**
 * sendmsg(2) of at least one byte with descriptors, of which this process keeps its own copies. Returns how many bytes were
 * taken: all of them if the socket is blocking.
 */
export function sendFds(socket: number, data: Uint8Array, fds: readonly number[]): number {
  const control = Buffer.alloc(CMSG_HEADER_BYTES + Math.ceil(fds.length / 2) * 8);
  control.writeBigUInt64LE(BigInt(CMSG_HEADER_BYTES + fds.length * 4), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  fds.forEach((fd, position) => void control.writeInt32LE(fd, CMSG_HEADER_BYTES + position * 4));
  const header = messageHeader(data, control);
  const operation = () => 'send file descriptors';
  return restartedSyscall(operation, 'sendmsg', socket, header, MessageFlag.MSG_NOSIGNAL);
}

/** struct msghdr over one buffer. The buffers must stay referenced until the call is over. */
function messageHeader(data: Uint8Array, control: Uint8Array): Buffer {
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(koffi().address(data), 0);
  vector.writeBigUInt64LE(BigInt(data.length), 8);
  const header = Buffer.alloc(MSGHDR_BYTES);
  header.writeBigUInt64LE(koffi().address(vector), 16);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(koffi().address(control), 32);
  header.writeBigUInt64LE(BigInt(control.length), 40);
  vectors.set(header, vector);
  return header;
}

/** Keeps a header's vector alive as long as the header. */
const vectors = new WeakMap<Buffer, Buffer>();

function controlFds(control: Buffer, controlLength: number): OwnedFd[] {
  const fds: OwnedFd[] = [];
  for (let offset = 0; offset + CMSG_HEADER_BYTES <= controlLength; ) {
    const length = Number(control.readBigUInt64LE(offset));
    if (length < CMSG_HEADER_BYTES) break;
    const isRights =
      control.readInt32LE(offset + 8) === SOL_SOCKET &&
      control.readInt32LE(offset + 12) === SCM_RIGHTS;
    const end = Math.min(offset + length, controlLength);
    for (let at = offset + CMSG_HEADER_BYTES; isRights && at + 4 <= end; at += 4) {
      fds.push(new OwnedFd(control.readInt32LE(at)));
    }
    offset += Math.ceil(length / 8) * 8;
  }
  return fds;
}
