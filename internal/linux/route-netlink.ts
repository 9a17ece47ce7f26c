/** Network interfaces and their addresses by rtnetlink (man 7 rtnetlink), in any network namespace. */
import { TsError } from '../errors/index.ts';
import { combine } from './constants/flags.ts';
import {
  AddressAttribute,
  AddressFlag,
  LinkAttribute,
  NETLINK_ROUTE,
  NetlinkFlag,
  NetlinkMessage,
  RT_SCOPE_UNIVERSE,
} from './constants/netlink.ts';
import { InterfaceFlag, SocketDomain, SocketType } from './constants/socket.ts';
import { OwnedFd } from './fd.ts';
import { Named } from './program/argument.ts';
import { SyscallProgram } from './program/syscall-program.ts';
import { joinNamespace } from './steps/namespaces.ts';
import { restartedSyscall } from './syscall.ts';

/** A network interface as one namespace has it. */
export interface NetworkLink {
  readonly index: number;
  readonly isUp: boolean;
}

/** A permanent address of global scope: what the kernel needs to set it again. */
export interface NetworkAddress {
  readonly family: number;
  readonly prefixLength: number;
  /** IFA_* by number. */
  readonly attributes: ReadonlyMap<number, Buffer>;
}

const HEADER_BYTES = 16;
const ATTRIBUTE_BYTES = 4;
/** struct ifinfomsg: family, pad, type (16 bits), index, flags, change. */
const IFINFOMSG_BYTES = 16;
/** struct ifaddrmsg: family, prefixlen, flags, scope (8 bits each), index. */
const IFADDRMSG_BYTES = 8;
const ANSWER_BYTES = 65_536;
const ERROR_ENODEV = 19;

/** A route socket of one network namespace. */
export class RouteSocket implements Disposable {
  readonly #socket: OwnedFd;
  #sequence = 0;

  private constructor(socket: OwnedFd) {
    this.#socket = socket;
  }

  /**
   * Of the namespace that an fd of /proc/PID/ns/net refers to; `own` is that of this process, which it is in for
   * no longer than the making of the socket takes.
   */
  static open(namespace: number, own: number): RouteSocket {
    const program = new SyscallProgram();
    program.main.add(joinNamespace(namespace, 'network'));
    const args = [
      new Named(SocketDomain.AF_NETLINK, 'AF_NETLINK'),
      new Named(combine(SocketType, ['SOCK_RAW', 'SOCK_CLOEXEC']), 'SOCK_RAW|SOCK_CLOEXEC'),
      new Named(NETLINK_ROUTE, 'NETLINK_ROUTE'),
    ];
    const label = 'create route socket';
    const made = program.main.add({ label, call: 'socket', args }, { tolerate: 'any' });
    program.main.add(joinNamespace(own, 'network'));
    using run = program.run();
    const socket = run.value(made);
    if (socket < 0) throw TsError.ofErrno(-socket, label);
    return new RouteSocket(new OwnedFd(socket));
  }

  /** The interface of that name. Undefined: there is none. */
  link(name: string): NetworkLink | undefined {
    const [answer] = this.#ask(
      'RTM_GETLINK',
      ['NLM_F_REQUEST'],
      link(0, 0, 0),
      nameAttribute(name),
      {
        operation: `look for network interface ${name}`,
        none: ERROR_ENODEV,
      },
    );
    if (answer === undefined) return undefined;
    const flags = answer.readUInt32LE(8);
    return { index: answer.readInt32LE(4), isUp: (flags & InterfaceFlag.IFF_UP) !== 0 };
  }

  /** The addresses of an interface that a move to another namespace would lose and that can be set again. */
  addresses(index: number): NetworkAddress[] {
    const flags = ['NLM_F_REQUEST', 'NLM_F_DUMP'] as const;
    const answers = this.#ask(
      'RTM_GETADDR',
      flags,
      Buffer.alloc(IFADDRMSG_BYTES),
      Buffer.alloc(0),
      {
        operation: 'list network addresses',
      },
    );
    return answers.filter((answer) => answer.readUInt32LE(4) === index).flatMap(parseAddress);
  }

  /** Takes an interface down and into another namespace, under a name that must be free there. */
  move(index: number, namespace: number, name: string): void {
    const target = Buffer.alloc(4);
    target.writeInt32LE(namespace, 0);
    const attributes = [attribute(LinkAttribute.IFLA_NET_NS_FD, target), nameAttribute(name)];
    this.#change(
      'RTM_NEWLINK',
      link(index, 0, InterfaceFlag.IFF_UP),
      attributes,
      `move it as ${name}`,
    );
  }

  setUp(index: number): void {
    const up = InterfaceFlag.IFF_UP;
    this.#change('RTM_NEWLINK', link(index, up, up), [], 'bring it up');
  }

  addAddress(index: number, { family, prefixLength, attributes }: NetworkAddress): void {
    const head = Buffer.alloc(IFADDRMSG_BYTES);
    head.writeUInt8(family, 0);
    head.writeUInt8(prefixLength, 1);
    head.writeUInt8(RT_SCOPE_UNIVERSE, 3);
    head.writeUInt32LE(index, 4);
    const all = [...attributes].map(([type, value]) => attribute(type, value));
    this.#change('RTM_NEWADDR', head, all, 'set its address', ['NLM_F_CREATE', 'NLM_F_EXCL']);
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }

  #change(
    type: NetlinkMessage,
    head: Buffer,
    attributes: readonly Buffer[],
    operation: string,
    more: readonly NetlinkFlag[] = [],
  ): void {
    const flags = ['NLM_F_REQUEST', 'NLM_F_ACK', ...more] as const;
    this.#ask(type, flags, head, Buffer.concat(attributes), { operation });
  }

  /** Sends a request and reads what answers it: the bodies of messages; none for an acknowledgement. */
  #ask(
    type: NetlinkMessage,
    flags: readonly NetlinkFlag[],
    head: Buffer,
    attributes: Buffer,
    { operation, none }: { readonly operation: string; readonly none?: number },
  ): Buffer[] {
    const header = Buffer.alloc(HEADER_BYTES);
    const sequence = ++this.#sequence;
    header.writeUInt32LE(HEADER_BYTES + head.length + attributes.length, 0);
    header.writeUInt16LE(NetlinkMessage[type], 4);
    header.writeUInt16LE(combine(NetlinkFlag, flags), 6);
    header.writeUInt32LE(sequence, 8);
    const request = Buffer.concat([header, head, attributes]);
    const fd = this.#socket.number;
    restartedSyscall(() => operation, 'write', fd, request, request.length);
    const isDump = flags.includes('NLM_F_DUMP');
    const bodies: Buffer[] = [];
    for (;;) {
      const answer = Buffer.alloc(ANSWER_BYTES);
      const length = restartedSyscall(() => operation, 'read', fd, answer, answer.length);
      for (const message of messagesOf(answer.subarray(0, length))) {
        if (message.sequence !== sequence) continue;
        if (message.type === NetlinkMessage.NLMSG_ERROR) {
          const errno = -message.body.readInt32LE(0);
          if (errno !== 0 && errno !== none) throw TsError.ofErrno(errno, operation);
          return bodies;
        }
        if (message.type === NetlinkMessage.NLMSG_DONE) return bodies;
        bodies.push(message.body);
        if (!isDump) return bodies;
      }
    }
  }
}

interface Message {
  readonly type: number;
  readonly sequence: number;
  readonly body: Buffer;
}

function* messagesOf(bytes: Buffer): Generator<Message> {
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < HEADER_BYTES) return;
    const body = bytes.subarray(at + HEADER_BYTES, at + length);
    yield { type: bytes.readUInt16LE(at + 4), sequence: bytes.readUInt32LE(at + 8), body };
    at += align(length);
  }
}

function align(length: number): number {
  return Math.ceil(length / 4) * 4;
}

function link(index: number, flags: number, change: number): Buffer {
  const head = Buffer.alloc(IFINFOMSG_BYTES);
  head.writeInt32LE(index, 4);
  head.writeUInt32LE(flags, 8);
  head.writeUInt32LE(change, 12);
  return head;
}

function attribute(type: number, value: Buffer): Buffer {
  const bytes = Buffer.alloc(align(ATTRIBUTE_BYTES + value.length));
  bytes.writeUInt16LE(ATTRIBUTE_BYTES + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  value.copy(bytes, ATTRIBUTE_BYTES);
  return bytes;
}

function nameAttribute(name: string): Buffer {
  return attribute(LinkAttribute.IFLA_IFNAME, Buffer.from(`${name}\0`));
}

/** What is set again; a label repeats the interface's old name, and life times start anew. */
const KEPT: readonly number[] = [
  AddressAttribute.IFA_ADDRESS,
  AddressAttribute.IFA_LOCAL,
  AddressAttribute.IFA_BROADCAST,
];

function parseAddress(answer: Buffer): NetworkAddress[] {
  const attributes = new Map<number, Buffer>();
  let flags = answer.readUInt8(2);
  for (let at = IFADDRMSG_BYTES; at + ATTRIBUTE_BYTES <= answer.length; ) {
    const length = answer.readUInt16LE(at);
    if (length < ATTRIBUTE_BYTES) break;
    const type = answer.readUInt16LE(at + 2);
    const value = answer.subarray(at + ATTRIBUTE_BYTES, at + length);
    if (type === AddressAttribute.IFA_FLAGS) flags = value.readUInt32LE(0);
    else if (KEPT.includes(type)) attributes.set(type, value);
    at += align(length);
  }
  const isPermanent = (flags & AddressFlag.IFA_F_PERMANENT) !== 0;
  if (!isPermanent || answer.readUInt8(3) !== RT_SCOPE_UNIVERSE) return [];
  return [{ family: answer.readUInt8(0), prefixLength: answer.readUInt8(1), attributes }];
}
