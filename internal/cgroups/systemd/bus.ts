/**
 * Calls to systemd over D-Bus (org.freedesktop.systemd1(5)). Each has a deadline, and every error names the unit: a
 * systemd that is slow, or stuck, must be told from one that refuses.
 */
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import dbus, { type MessageBus } from 'dbus-native';
import { TsError } from '../../errors/index.ts';
import { type BusKind, busAddress, busSocket, outerUid } from './bus-address.ts';
import type { UnitProperty } from './unit-property.ts';

const SYSTEMD = 'org.freedesktop.systemd1';
const PATH = '/org/freedesktop/systemd1';
const MANAGER = `${SYSTEMD}.Manager`;

/** How long systemd may take for an answer, and for a job such as starting a unit (runc waits as long for one). */
const DEADLINE_MS = 30_000;

/** How long to wait; tests wait less. */
export interface BusOptions {
  readonly deadlineMs?: number;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** A connection to one systemd. */
export class SystemdBus {
  readonly #bus: MessageBus;
  readonly #socket: Socket;
  readonly #address: string;
  readonly #deadlineMs: number;
  /** The unique name of systemd: only its signals are believed. */
  #owner = '';
  readonly #jobs = new Map<string, (result: string) => void>();
  /** Results of jobs whose number was not known yet. */
  readonly #early = new Map<string, string>();
  #failure: unknown;

  private constructor(bus: MessageBus, socket: Socket, address: string, deadlineMs: number) {
    this.#bus = bus;
    this.#socket = socket;
    this.#address = address;
    this.#deadlineMs = deadlineMs;
    bus.connection.on('error', (error) => {
      this.#failure = error;
      socket.destroy(); // the calls that wait end with it, also where the bus has refused us
    });
    bus.connection.on('message', ({ type, sender, interface: from, member, body }) => {
      if (type !== dbus.messageType.signal || sender !== this.#owner) return;
      if (from !== MANAGER || member !== 'JobRemoved' || body === undefined) return;
      const [, job, , result] = body as [number, string, string, string];
      const tell = this.#jobs.get(job);
      if (tell === undefined) this.#early.set(job, result);
      else tell(result);
    });
  }

  /** Throws Unavailable if nobody answers there, PermissionDenied if the bus refuses us. */
  static async connect(kind: BusKind, options: BusOptions = {}): Promise<SystemdBus> {
    const { deadlineMs = DEADLINE_MS, env = process.env } = options;
    const address = busAddress(kind, env);
    const socket = connect(busSocket(address));
    claimOuterUid(socket);
    const bus = dbus.createClient({
      stream: socket,
      authMethods: ['EXTERNAL'],
      timeout: deadlineMs,
    });
    const systemd = new SystemdBus(bus, socket, address, deadlineMs);
    try {
      await systemd.#watchJobs();
    } catch (thrown) {
      socket.destroy();
      throw thrown;
    }
    // A connection that nobody waits on does not keep the process.
    socket.unref();
    return systemd;
  }

  async #watchJobs(): Promise<void> {
    const operation = `ask ${SYSTEMD} at ${this.#address}`;
    const toBus = { path: '/org/freedesktop/DBus', destination: 'org.freedesktop.DBus' };
    const ofBus = { ...toBus, interface: 'org.freedesktop.DBus', signature: 's' };
    this.#owner = await this.#invoke(
      { ...ofBus, member: 'GetNameOwner', body: [SYSTEMD] },
      operation,
    );
    const rule = `type='signal',sender='${SYSTEMD}',interface='${MANAGER}',member='JobRemoved'`;
    await this.#invoke({ ...ofBus, member: 'AddMatch', body: [rule] }, operation);
    await this.#call('Subscribe', '', [], operation);
  }

  /** Whether calls can still be made. */
  get isOpen(): boolean {
    return !this.#socket.destroyed && this.#failure === undefined;
  }

  /** A property of the manager: `Version`, `ControlGroup`. */
  async managerProperty(name: string): Promise<string> {
    const message = {
      path: PATH,
      destination: SYSTEMD,
      interface: 'org.freedesktop.DBus.Properties',
      member: 'Get',
      signature: 'ss',
      body: [MANAGER, name],
    };
    return String(dbus.variantValue(await this.#invoke(message, `read ${name} of ${SYSTEMD}`)));
  }

  /**
   * Starts a transient unit and returns when it is there. Throws AlreadyExists if a unit has this name, InvalidArgument
   * for a property that systemd does not take, FailedPrecondition with the job's result.
   */
  async startTransientUnit(unit: string, properties: readonly UnitProperty[]): Promise<void> {
    const operation = `start unit ${unit}`;
    const body = [unit, 'replace', properties.map(asEntry), []];
    await this.#job(operation, unit, () =>
      this.#call('StartTransientUnit', 'ssa(sv)a(sa(sv))', body, operation),
    );
  }

  /** Changes a unit until it ends. Throws NotFound if there is no such unit. */
  async setUnitProperties(unit: string, properties: readonly UnitProperty[]): Promise<void> {
    const body = [unit, true, properties.map(asEntry)];
    await this.#call('SetUnitProperties', 'sba(sv)', body, `change unit ${unit}`);
  }

  /** Ends a unit and returns when it has ended; false if there was none. */
  async stopUnit(unit: string): Promise<boolean> {
    const operation = `stop unit ${unit}`;
    try {
      await this.#job(operation, unit, () =>
        this.#call('StopUnit', 'ss', [unit, 'replace'], operation),
      );
      return true;
    } catch (thrown) {
      if (TsError.from(thrown).kind === 'NotFound') return false;
      throw thrown;
    }
  }

  /** Forgets a unit that has failed, so that its name is free; no error if there is none. */
  async resetFailedUnit(unit: string): Promise<void> {
    try {
      await this.#call('ResetFailedUnit', 's', [unit], `reset unit ${unit}`);
    } catch (thrown) {
      if (TsError.from(thrown).kind !== 'NotFound') throw thrown;
    }
  }

  /** Ends the connection; calls that wait fail. */
  close(): void {
    this.#socket.destroy();
  }

  /** Waits for the job that `start` returns the path of. */
  async #job(operation: string, unit: string, start: () => Promise<string>): Promise<void> {
    const job = await start();
    const result = await this.#result(job, operation);
    if (result === 'done') return;
    throw new TsError('FailedPrecondition', `${operation}: job result ${result}`, {
      code: 'TS_SYSTEMD_JOB',
      advice: `look at what "systemctl status ${unit}" and "journalctl -u ${unit}" say`,
      fields: { unit, result },
    });
  }

  async #result(job: string, operation: string): Promise<string> {
    const early = this.#early.get(job);
    this.#early.clear(); // of other programs' jobs
    if (early !== undefined) return early;
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const timer = setTimeout(() => reject(this.#tooSlow(operation)), this.#deadlineMs);
    const onClose = (): void => reject(this.#unavailable(operation, this.#failure));
    this.#socket.once('close', onClose);
    this.#jobs.set(job, resolve);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#socket.off('close', onClose);
      this.#jobs.delete(job);
    }
  }

  #call<T>(member: string, signature: string, body: unknown[], operation: string): Promise<T> {
    const message = { path: PATH, destination: SYSTEMD, interface: MANAGER, member };
    return this.#invoke(
      { ...message, ...(signature === '' ? {} : { signature, body }) },
      operation,
    );
  }

  async #invoke<T>(message: Parameters<MessageBus['invoke']>[0], operation: string): Promise<T> {
    this.#socket.ref();
    try {
      return await this.#bus.invoke<T>(message, { timeout: this.#deadlineMs });
    } catch (thrown) {
      throw this.#translate(thrown, operation);
    } finally {
      this.#socket.unref();
    }
  }

  #translate(thrown: unknown, operation: string): TsError {
    if (thrown instanceof dbus.TimeoutError) return this.#tooSlow(operation);
    if (thrown instanceof dbus.ConnectionClosedError) {
      return this.#unavailable(operation, this.#failure ?? thrown.cause);
    }
    if (!(thrown instanceof dbus.DBusError)) return TsError.from(thrown, operation);
    const dbusError = thrown.dbusName ?? '';
    const kind = KINDS[dbusError] ?? 'Unknown';
    const words = thrown.message.replace(/\.$/, '');
    return new TsError(kind, `${operation}: ${words}`, {
      code: 'TS_SYSTEMD_CALL',
      cause: thrown,
      fields: { dbusError },
      ...(kind === 'PermissionDenied' ? { advice: PERMISSION_ADVICE } : {}),
    });
  }

  #tooSlow(operation: string): TsError {
    return new TsError(
      'DeadlineExceeded',
      `${operation}: systemd has not done it within ${this.#deadlineMs} ms`,
      {
        code: 'TS_SYSTEMD_DEADLINE',
        advice: 'look whether systemd is busy or stuck: systemctl list-jobs',
      },
    );
  }

  #unavailable(operation: string, cause: unknown): TsError {
    const reason = cause === undefined ? 'the connection was closed' : TsError.from(cause).message;
    const isDenied = cause instanceof Error && /authentication methods/.test(cause.message);
    return new TsError(
      isDenied ? 'PermissionDenied' : 'Unavailable',
      `${operation}: D-Bus at ${this.#address}: ${isDenied ? 'refuses this user' : reason}`,
      {
        code: 'TS_SYSTEMD_NO_BUS',
        cause,
        advice: isDenied
          ? PERMISSION_ADVICE
          : 'start systemd and dbus, or use the cgroupfs driver (leave out --systemd-cgroup)',
      },
    );
  }
}

const PERMISSION_ADVICE =
  'run as root, or with the D-Bus of your own session in DBUS_SESSION_BUS_ADDRESS';

/** Kinds of systemd's and the bus's own errors. */
const KINDS: Readonly<Record<string, TsError['kind']>> = {
  'org.freedesktop.systemd1.UnitExists': 'AlreadyExists',
  'org.freedesktop.systemd1.NoSuchUnit': 'NotFound',
  'org.freedesktop.DBus.Error.AccessDenied': 'PermissionDenied',
  'org.freedesktop.DBus.Error.InteractiveAuthorizationRequired': 'PermissionDenied',
  'org.freedesktop.DBus.Error.InvalidArgs': 'InvalidArgument',
  'org.freedesktop.DBus.Error.PropertyReadOnly': 'InvalidArgument',
  'org.freedesktop.DBus.Error.UnknownProperty': 'InvalidArgument',
  'org.freedesktop.DBus.Error.ServiceUnknown': 'Unavailable',
  'org.freedesktop.DBus.Error.NameHasNoOwner': 'Unavailable',
  'org.freedesktop.DBus.Error.NoReply': 'DeadlineExceeded',
};

function asEntry({ name, type, value }: UnitProperty): [string, unknown] {
  return [name, new dbus.Variant(type, value)];
}

/**
 * The library says which user we are inside of our user namespace; the bus compares that with whom it sees outside of it,
 * so the number in the one line that carries it is replaced.
 */
function claimOuterUid(socket: Socket): void {
  const claimed = process.getuid?.() ?? 0;
  const seen = outerUid(process.geteuid?.() ?? 0, readFileSync('/proc/self/uid_map', 'latin1'));
  if (claimed === seen) return;
  const write = socket.write.bind(socket) as (...parameters: unknown[]) => boolean;
  socket.write = ((data: unknown, ...rest: unknown[]) => {
    const isClaim = typeof data === 'string' && data.startsWith('AUTH EXTERNAL ');
    const hex = Buffer.from(String(seen)).toString('hex');
    return write(isClaim ? `AUTH EXTERNAL ${hex}\r\n` : data, ...rest);
  }) as Socket['write'];
}
