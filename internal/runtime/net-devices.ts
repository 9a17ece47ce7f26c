/** `linux.netDevices` (runtime-spec config-linux.md#network-devices): interfaces of the host that move into the container. */
import { closeSync, openSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { type NetworkAddress, type NetworkLink, RouteSocket } from '../linux/index.ts';
import type { NetDevice } from '../oci/index.ts';

type NetDevices = Readonly<Record<string, NetDevice>>;

/**
 * Refuses interfaces that are not there, before anything is made. Throws NotFound that names the property.
 */
export function checkNetDevices(devices: NetDevices): void {
  const names = Object.keys(devices);
  if (names.length === 0) return;
  const own = openSync('/proc/self/ns/net', 'r');
  try {
    using route = RouteSocket.open(own, own);
    for (const name of names) found(route, name);
  } finally {
    closeSync(own);
  }
}

/** Interfaces in the network namespace of a process, which is held so that they can be brought back from it. */
export class MovedNetDevices implements Disposable {
  readonly #inside: number;
  readonly #own: number;
  readonly #moved: Moved[] = [];

  constructor(pid: number) {
    this.#inside = openSync(`/proc/${pid}/ns/net`, 'r');
    this.#own = openSync('/proc/self/ns/net', 'r');
  }

  /** Moves them, with their permanent global addresses, and brings them up. */
  move(devices: NetDevices): void {
    using route = RouteSocket.open(this.#own, this.#own);
    using target = RouteSocket.open(this.#inside, this.#own);
    for (const [name, { name: wanted }] of Object.entries(devices)) {
      const newName = wanted === undefined || wanted === '' ? name : wanted;
      this.#moveOne(route, target, name, newName);
    }
  }

  /** Brings back what was moved, as it was: the container is not made after all. */
  undo(): void {
    using route = RouteSocket.open(this.#own, this.#own);
    using target = RouteSocket.open(this.#inside, this.#own);
    for (const { name, newName, link, addresses } of this.#moved) {
      const there = target.link(newName);
      if (there === undefined) continue;
      target.move(there.index, this.#own, name);
      const index = route.link(name)?.index ?? 0;
      for (const address of addresses) route.addAddress(index, address);
      if (link.isUp) route.setUp(index);
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#inside);
    closeSync(this.#own);
  }

  #moveOne(route: RouteSocket, target: RouteSocket, name: string, newName: string): void {
    const property = propertyOf(name);
    const link = found(route, name);
    if (target.link(newName) !== undefined) {
      throw new TsError(
        'AlreadyExists',
        `config.json: ${property}: the container's network namespace has an interface ${newName}`,
        { code: 'TS_NET_DEVICE', fields: { property } },
      );
    }
    const addresses = route.addresses(link.index);
    named(property, () => {
      route.move(link.index, this.#inside, newName);
      this.#moved.push({ name, newName, link, addresses });
      const index = target.link(newName)?.index ?? 0;
      for (const address of addresses) target.addAddress(index, address);
      target.setUp(index);
    });
  }
}

interface Moved {
  readonly name: string;
  readonly newName: string;
  readonly link: NetworkLink;
  readonly addresses: readonly NetworkAddress[];
}

function found(route: RouteSocket, name: string): NetworkLink {
  const property = propertyOf(name);
  const link = named(property, () => route.link(name));
  if (link !== undefined) return link;
  throw new TsError('NotFound', `config.json: ${property}: there is no network interface ${name}`, {
    code: 'TS_NET_DEVICE',
    fields: { property },
  });
}

function propertyOf(name: string): string {
  return `linux.netDevices[${JSON.stringify(name)}]`;
}

function named<T>(property: string, act: () => T): T {
  try {
    return act();
  } catch (thrown) {
    const error = TsError.from(thrown);
    throw new TsError(error.kind, `config.json: ${property}: ${error.message}`, {
      code: 'TS_NET_DEVICE',
      cause: thrown,
      fields: { ...error.fields, property },
    });
  }
}
