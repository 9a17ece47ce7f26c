import { TsError } from '../../errors/index.ts';
import { flags, named } from '../constants/flags.ts';
import {
  InterfaceFlag,
  InterfaceIoctl,
  MessageFlag,
  SCM_RIGHTS,
  SOL_SOCKET,
  SocketDomain,
  SocketOption,
  SocketType,
} from '../constants/socket.ts';
import { bytesOf, type Field, Memory, Named, type Value } from '../program/argument.ts';
import type { Sequence } from '../program/sequence.ts';
import type { Step } from '../program/step.ts';

/** socket(2), close-on-exec. */
export function createSocket(
  domain: keyof typeof SocketDomain,
  type: keyof typeof SocketType,
): Step {
  const types = flags(SocketType, [type, 'SOCK_CLOEXEC']);
  const args = [named(SocketDomain, domain), types, 0];
  return { label: 'create socket', call: 'socket', args };
}

const SUN_PATH_BYTES = 108;

/** connect(2) to a unix socket by path. */
export function connectUnix(fd: Value, path: string): Step {
  const bytes = Buffer.from(path);
  if (bytes.length >= SUN_PATH_BYTES) {
    throw new TsError('InvalidArgument', `socket path ${path} is longer than 107 bytes`);
  }
  const address = new Memory(
    2 + SUN_PATH_BYTES,
    () => `{AF_UNIX, ${JSON.stringify(path)}}`,
    (view) => {
      view.setUint16(0, SocketDomain.AF_UNIX, true);
      new Uint8Array(view.buffer, view.byteOffset + 2, bytes.length).set(bytes);
    },
  );
  return { label: `connect to ${path}`, call: 'connect', args: [fd, address, address.size] };
}

const TIMEVAL_BYTES = 16;

/** Limits how long connect(2) and writes wait (SO_SNDTIMEO, man 7 socket); a connect fails with EINPROGRESS then. */
export function limitSending(fd: Value, timeoutMs: number): Step {
  const time = new Memory(
    TIMEVAL_BYTES,
    () => `{${timeoutMs} ms}`,
    (view) => {
      view.setBigInt64(0, BigInt(Math.floor(timeoutMs / 1000)), true);
      view.setBigInt64(8, BigInt((timeoutMs % 1000) * 1000), true);
    },
  );
  const option = named(SocketOption, 'SO_SNDTIMEO');
  const args = [fd, new Named(SOL_SOCKET, 'SOL_SOCKET'), option, time, time.size];
  return { label: `limit sending to ${timeoutMs} ms`, call: 'setsockopt', args };
}

const SOCKADDR_IN_BYTES = 16;
const SOCKADDR_IN6_BYTES = 28;

/** connect(2) to a port of this machine's own address, 127.0.0.1 or ::1 (man 7 ip, man 7 ipv6). */
export function connectLoopback(fd: Value, domain: 'AF_INET' | 'AF_INET6', port: number): Step {
  const isV6 = domain === 'AF_INET6';
  const host = isV6 ? '[::1]' : '127.0.0.1';
  const address = new Memory(
    isV6 ? SOCKADDR_IN6_BYTES : SOCKADDR_IN_BYTES,
    () => `{${domain}, ${host}, ${port}}`,
    (view) => {
      view.setUint16(0, SocketDomain[domain], true);
      view.setUint16(2, port, false);
      if (isV6) view.setUint8(23, 1);
      else view.setUint32(4, 0x7f000001, false);
    },
  );
  return {
    label: `connect to ${host}:${port}`,
    call: 'connect',
    args: [fd, address, address.size],
  };
}

const MSGHDR_BYTES = 56;
const CMSG_BYTES = 24;

/**
 * Where the fd to send must be stored: pass it as `into` of the step that opens it, then add
 * {@link sendFd}.
 */
export class FdMessage {
  readonly #control: Memory;
  /** Takes the fd: a control message {length, SOL_SOCKET, SCM_RIGHTS, fd}. */
  readonly fd: Field;

  constructor() {
    this.#control = new Memory(
      CMSG_BYTES,
      () => '{SCM_RIGHTS}',
      (view) => {
        view.setBigUint64(0, 20n, true); // header and one int
        view.setInt32(8, SOL_SOCKET, true);
        view.setInt32(12, SCM_RIGHTS, true);
      },
    );
    this.fd = this.#control.field(16, 'cmsg.fd');
  }

  /** sendmsg(2) of `data` (at least one byte) together with the fd. */
  send(socket: Value, data: string): Step {
    const bytes = bytesOf(data);
    const vector = new Memory(
      16,
      () => `{${bytes.text}}`,
      (view, placement) => {
        view.setBigUint64(0, BigInt(placement.memory(bytes)), true);
        view.setBigUint64(8, BigInt(bytes.size), true);
      },
    );
    const text = () => `{${bytes.text}, SCM_RIGHTS}`;
    const header = new Memory(MSGHDR_BYTES, text, (view, placement) => {
      view.setBigUint64(16, BigInt(placement.memory(vector)), true);
      view.setBigUint64(24, 1n, true);
      view.setBigUint64(32, BigInt(placement.memory(this.#control)), true);
      view.setBigUint64(40, BigInt(CMSG_BYTES), true);
    });
    const args = [socket, header, flags(MessageFlag, ['MSG_NOSIGNAL'])];
    return { label: 'send fd', call: 'sendmsg', args };
  }
}

const IFREQ_BYTES = 40;

/** Brings an interface of this network namespace up: SIOCSIFFLAGS with IFF_UP, as for `lo`. */
export function bringInterfaceUp(sequence: Sequence, name: string): void {
  const socket = sequence.add(createSocket('AF_INET', 'SOCK_DGRAM'), { as: 'socket' });
  const request = new Memory(
    IFREQ_BYTES,
    () => `{"${name}", IFF_UP}`,
    (view) => {
      new Uint8Array(view.buffer, view.byteOffset, 15).set(Buffer.from(name).subarray(0, 15));
      view.setUint16(16, InterfaceFlag.IFF_UP, true);
    },
  );
  const args = [socket, named(InterfaceIoctl, 'SIOCSIFFLAGS'), request];
  sequence.add({ label: `bring interface ${name} up`, call: 'ioctl', args });
  sequence.add({ label: `close the socket for ${name}`, call: 'close', args: [socket] });
}
