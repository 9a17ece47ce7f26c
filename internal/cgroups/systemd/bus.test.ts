// Against a bus and a systemd of our own that speak the real protocol over a socket.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import dbus from 'dbus-native';
import { SystemdBus } from './bus.ts';
import { busAddress, busSocket, outerUid } from './bus-address.ts';

const directory = mkdtempSync(join(tmpdir(), 'tsrunc-bus-'));
const stops: (() => unknown)[] = [];
after(async () => {
  for (const stop of stops) await stop();
  rmSync(directory, { recursive: true });
});

/** How the systemd behaves. */
interface Behaviour {
  /** Result of each job; absent: none ever ends. */
  readonly result?: string;
  /** D-Bus error by method. */
  readonly errors?: Readonly<Record<string, readonly [string, string]>>;
  readonly isMute?: boolean;
}

let count = 0;

async function fakeSystemd(behaviour: Behaviour) {
  const socket = join(directory, `bus-${++count}`);
  const broker = dbus.createBroker();
  await new Promise<unknown>((resolve) => broker.listen({ socket }, resolve));
  // A connection without the library's own answers to calls.
  const connection = dbus.createConnection({ socket, authMethods: ['EXTERNAL'] });
  let serial = 0;
  const send = (message: Parameters<typeof connection.message>[0]) =>
    connection.message({ ...message, serial: ++serial });
  const ofBus = {
    path: '/org/freedesktop/DBus',
    destination: 'org.freedesktop.DBus',
    interface: 'org.freedesktop.DBus',
    type: dbus.messageType.methodCall,
  };
  send({ ...ofBus, member: 'Hello' });
  const name = 'org.freedesktop.systemd1';
  const hasName = new Promise<void>((resolve) => {
    connection.on('message', ({ replySerial }) => replySerial === 2 && resolve());
  });
  send({ ...ofBus, member: 'RequestName', signature: 'su', body: [name, 4] });
  await hasName;
  const calls: [string, unknown[]][] = [];
  const path = '/org/freedesktop/systemd1';
  connection.on('message', (message) => {
    if (message.type !== dbus.messageType.methodCall || message.path !== path) return;
    const { member = '', body = [] } = message;
    calls.push([member, body]);
    if (behaviour.isMute === true && member !== 'Subscribe') return;
    const error = behaviour.errors?.[member];
    if (error !== undefined) {
      const [errorName, words] = error;
      const answered = { replySerial: message.serial ?? 0, destination: message.sender ?? '' };
      const type = dbus.messageType.error;
      send({ type, ...answered, errorName, signature: 's', body: [words] });
      return;
    }
    const reply = (signature: string, values: unknown[]) =>
      send({
        type: dbus.messageType.methodReturn,
        replySerial: message.serial ?? 0,
        destination: message.sender ?? '',
        ...(signature === '' ? {} : { signature, body: values }),
      });
    if (member === 'Get') reply('v', [new dbus.Variant('s', '257.13-1')]);
    else if (member !== 'StartTransientUnit' && member !== 'StopUnit') reply('', []);
    else {
      const job = `${path}/job/${calls.length}`;
      reply('o', [job]);
      if (behaviour.result === undefined) return;
      const removed = [calls.length, job, String(body[0]), behaviour.result];
      send({
        type: dbus.messageType.signal,
        path,
        interface: `${name}.Manager`,
        member: 'JobRemoved',
        signature: 'uoss',
        body: removed,
      });
    }
  });
  stops.push(
    () => connection.end(),
    () => broker.close(),
  );
  const env = { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${socket}` };
  const systemd = await SystemdBus.connect('system', { env, deadlineMs: 300 });
  stops.unshift(() => systemd.close());
  return { systemd, calls, socket };
}

test('SystemdBus: a unit is started with its properties, and the job waited for', async () => {
  const { systemd, calls } = await fakeSystemd({ result: 'done' });
  assert.equal(await systemd.managerProperty('Version'), '257.13-1');
  await systemd.startTransientUnit('a.scope', [
    { name: 'Slice', type: 's', value: 'system.slice' },
    { name: 'MemoryMax', type: 't', value: 18446744073709551615n },
    { name: 'PIDs', type: 'au', value: [7] },
    { name: 'AllowedCPUs', type: 'ay', value: Buffer.from([3]) },
    { name: 'DeviceAllow', type: 'a(ss)', value: [['char-*', 'm']] },
  ]);
  const [, started = []] = calls.find(([member]) => member === 'StartTransientUnit') ?? [];
  const [unit, mode, properties] = started as [string, string, [string, unknown][]];
  assert.deepEqual([unit, mode], ['a.scope', 'replace']);
  assert.deepEqual(
    properties.map(([name, value]) => [name, dbus.variantValue(value)]),
    [
      ['Slice', 'system.slice'],
      ['MemoryMax', 18446744073709551615n],
      ['PIDs', [7]],
      ['AllowedCPUs', Buffer.from([3])],
      ['DeviceAllow', [['char-*', 'm']]],
    ],
  );
  await systemd.setUnitProperties('a.scope', [{ name: 'TasksMax', type: 't', value: 5n }]);
  assert.equal(await systemd.stopUnit('a.scope'), true);
});

test('SystemdBus: a job that fails is told with unit and result', async () => {
  const { systemd } = await fakeSystemd({ result: 'failed' });
  await assert.rejects(systemd.startTransientUnit('a.scope', []), {
    kind: 'FailedPrecondition',
    message: 'start unit a.scope: job result failed',
    advice: 'look at what "systemctl status a.scope" and "journalctl -u a.scope" say',
  });
});

test('SystemdBus: a systemd that is slow, in the answer or with the job', async () => {
  const expected = {
    kind: 'DeadlineExceeded',
    message: 'start unit a.scope: systemd has not done it within 300 ms',
    advice: 'look whether systemd is busy or stuck: systemctl list-jobs',
  };
  const mute = await fakeSystemd({ isMute: true });
  await assert.rejects(mute.systemd.startTransientUnit('a.scope', []), expected);
  const stuck = await fakeSystemd({});
  await assert.rejects(stuck.systemd.startTransientUnit('a.scope', []), expected);
});

const ERRORS: [string, string, string][] = [
  ['org.freedesktop.systemd1.UnitExists', 'AlreadyExists', 'Unit a.scope was already loaded.'],
  ['org.freedesktop.DBus.Error.AccessDenied', 'PermissionDenied', 'Access denied'],
  ['org.freedesktop.DBus.Error.InteractiveAuthorizationRequired', 'PermissionDenied', 'no'],
  ['org.freedesktop.DBus.Error.PropertyReadOnly', 'InvalidArgument', 'Cannot set property X'],
  ['com.example.Other', 'Unknown', 'something'],
];

for (const [name, kind, words] of ERRORS) {
  test(`SystemdBus: ${name} is ${kind}`, async () => {
    const { systemd } = await fakeSystemd({ errors: { StartTransientUnit: [name, words] } });
    await assert.rejects(systemd.startTransientUnit('a.scope', []), {
      kind,
      message: `start unit a.scope: ${words.replace(/\.$/, '')}`,
    });
  });
}

test('SystemdBus: stopping and resetting what is not there is no error', async () => {
  const gone = ['org.freedesktop.systemd1.NoSuchUnit', 'Unit a.scope not loaded.'] as const;
  const { systemd } = await fakeSystemd({ errors: { StopUnit: gone, ResetFailedUnit: gone } });
  assert.equal(await systemd.stopUnit('a.scope'), false);
  await systemd.resetFailedUnit('a.scope');
});

test('SystemdBus: a signal that is not systemd’s ends no job', async () => {
  const { systemd, calls, socket } = await fakeSystemd({});
  const liar = dbus.createClient({ socket });
  stops.unshift(() => liar.close());
  await liar.listNames();
  const started = systemd.startTransientUnit('a.scope', []);
  while (!calls.some(([member]) => member === 'StartTransientUnit')) await liar.listNames();
  const path = '/org/freedesktop/systemd1';
  const body = [1, `${path}/job/${calls.length}`, 'a.scope', 'done'];
  liar.sendSignal(path, 'org.freedesktop.systemd1.Manager', 'JobRemoved', 'uoss', body);
  await assert.rejects(started, { kind: 'DeadlineExceeded' });
});

test('SystemdBus: nobody listens, or refuses', async () => {
  const env = { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${directory}/nothing` };
  const advice = 'start systemd and dbus, or use the cgroupfs driver (leave out --systemd-cgroup)';
  await assert.rejects(SystemdBus.connect('system', { env }), {
    kind: 'Unavailable',
    code: 'TS_SYSTEMD_NO_BUS',
    message: `ask org.freedesktop.systemd1 at unix:path=${directory}/nothing: D-Bus at unix:path=${directory}/nothing: connect: ENOENT`,
    advice,
  });
  const server = createServer((client) => {
    client.on('data', () => client.write('REJECTED EXTERNAL\r\n'));
    client.on('error', () => client.destroy());
    stops.unshift(() => client.destroy());
  });
  const path = join(directory, 'refusing');
  await new Promise<void>((resolve) => server.listen(path, resolve));
  stops.push(() => server.close());
  const refusing = { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${path}` };
  await assert.rejects(SystemdBus.connect('system', { env: refusing, deadlineMs: 2000 }), {
    kind: 'PermissionDenied',
    message: `ask org.freedesktop.systemd1 at unix:path=${path}: D-Bus at unix:path=${path}: refuses this user`,
  });
});

test('busAddress: the environment’s, or the usual one', () => {
  assert.equal(busAddress('system', {}), 'unix:path=/run/dbus/system_bus_socket');
  assert.equal(busAddress('user', { DBUS_SESSION_BUS_ADDRESS: 'unix:path=/x' }), 'unix:path=/x');
  const inRuntime = busAddress('user', { XDG_RUNTIME_DIR: '/run/user/1,0' });
  assert.equal(inRuntime, 'unix:path=/run/user/1%2c0/bus');
  assert.equal(busSocket(inRuntime), '/run/user/1,0/bus');
  assert.throws(() => busAddress('user', {}), {
    code: 'TS_SYSTEMD_NO_BUS',
    message:
      "find the D-Bus of the user's systemd: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set",
  });
});

test('busSocket: the first unix socket of an address', () => {
  assert.equal(busSocket('tcp:host=x,port=1;unix:guid=1,path=/a%20b'), '/a b');
  assert.equal(busSocket('unix:abstract=/tmp/x,guid=1'), '\0/tmp/x');
  assert.throws(() => busSocket('tcp:host=x'), {
    message: 'D-Bus address "tcp:host=x" has no unix socket',
  });
});

test('outerUid: out of a user namespace', () => {
  assert.equal(outerUid(0, '         0          0 4294967295\n'), 0);
  assert.equal(outerUid(0, '0 1000 1\n1 100000 65536\n'), 1000);
  assert.equal(outerUid(5, '0 1000 1\n1 100000 65536\n'), 100004);
});
