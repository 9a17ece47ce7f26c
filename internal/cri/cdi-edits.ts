import { posix } from 'node:path';
import { TsError } from '../errors/index.ts';
import {
  type Device,
  type DeviceRule,
  HOOK_POINTS,
  type Hook,
  type HookPoint,
  type Linux,
  type Mount,
  type Spec,
} from '../oci/index.ts';
import { deviceNode } from '../rootfs/host-devices.ts';
import { isObject } from './cni-config.ts';

/** Throws by the property. */
export type Refuse = (what: string) => never;

/** What a device adds to a container's spec (CDI SPEC.md, containerEdits). */
export interface CdiEdits {
  readonly env: readonly string[];
  readonly deviceNodes: readonly DeviceNode[];
  readonly netDevices: readonly { readonly host: string; readonly name: string }[];
  readonly mounts: readonly Mount[];
  readonly hooks: readonly { readonly point: HookPoint; readonly hook: Hook }[];
  readonly additionalGids: readonly number[];
  readonly intelRdt: Readonly<Record<string, unknown>> | undefined;
}

interface DeviceNode {
  readonly path: string;
  readonly hostPath: string;
  readonly permissions: string;
  /** What replaces that of the host's node. */
  readonly given: Partial<Pick<Device, 'type' | 'major' | 'minor' | 'fileMode' | 'uid' | 'gid'>>;
}

const DEVICE_TYPES: readonly unknown[] = ['b', 'c', 'u', 'p', undefined, ''];

/** Reads an object of edits. A property that is not known is left out, as newer versions add some. */
export function parseEdits(value: unknown, place: string, refuse: Refuse): CdiEdits {
  if (!isObject(value)) return refuse(`${place}: not an object`);
  const list = (key: string): unknown[] => {
    const found = value[key] ?? [];
    return Array.isArray(found) ? found : refuse(`${place}.${key}: not a list`);
  };
  const objects = (key: string) =>
    list(key).map((entry, index) => {
      const at = `${place}.${key}[${index}]`;
      return isObject(entry) ? { entry, at } : refuse(`${at}: not an object`);
    });
  const text = (entry: Record<string, unknown>, key: string, at: string, fallback?: string) => {
    const found = entry[key] ?? fallback;
    if (typeof found !== 'string' || found.includes('\0'))
      return refuse(`${at}.${key}: ${JSON.stringify(found)}`);
    return found;
  };
  const path = (entry: Record<string, unknown>, key: string, at: string, fallback?: string) => {
    const found = text(entry, key, at, fallback);
    return found.startsWith('/') ? posix.normalize(found) : refuse(`${at}.${key}: not absolute`);
  };
  const number = (entry: Record<string, unknown>, key: string, at: string) => {
    const found = entry[key];
    if (found === undefined || found === null) return {};
    if (typeof found !== 'number' || !Number.isInteger(found) || found < 0 || found > 0xffffffff)
      return refuse(`${at}.${key}: ${JSON.stringify(found)}`);
    return { [key]: found };
  };
  const strings = (entry: Record<string, unknown>, key: string, at: string): string[] => {
    const found = entry[key] ?? [];
    if (!Array.isArray(found) || found.some((one) => typeof one !== 'string'))
      return refuse(`${at}.${key}: not a list of strings`);
    return found;
  };
  const intelRdt = value['intelRdt'];
  return {
    env: strings(value, 'env', place).map((entry) =>
      /^[^=\0]+=[^\0]*$/.test(entry) ? entry : refuse(`${place}.env: ${JSON.stringify(entry)}`),
    ),
    deviceNodes: objects('deviceNodes').map(({ entry, at }) => {
      const { type } = entry;
      if (!DEVICE_TYPES.includes(type)) return refuse(`${at}.type: ${JSON.stringify(type)}`);
      const permissions = text(entry, 'permissions', at, 'rwm');
      if (!/^[rwm]{1,3}$/.test(permissions))
        return refuse(`${at}.permissions: ${JSON.stringify(permissions)}`);
      const node = path(entry, 'path', at);
      return {
        path: node,
        hostPath: path(entry, 'hostPath', at, node),
        permissions,
        given: {
          ...(type ? { type: type as Device['type'] } : {}),
          ...number(entry, 'major', at),
          ...number(entry, 'minor', at),
          ...number(entry, 'fileMode', at),
          ...number(entry, 'uid', at),
          ...number(entry, 'gid', at),
        },
      };
    }),
    netDevices: objects('netDevices').map(({ entry, at }) => {
      const host = text(entry, 'hostInterfaceName', at);
      return { host, name: text(entry, 'name', at, host) };
    }),
    mounts: objects('mounts').map(({ entry, at }) => ({
      destination: path(entry, 'containerPath', at),
      source: text(entry, 'hostPath', at),
      type: text(entry, 'type', at, 'bind') || 'bind',
      options: strings(entry, 'options', at),
    })),
    hooks: objects('hooks').map(({ entry, at }) => {
      const point = HOOK_POINTS.find((name) => name === entry['hookName']);
      if (point === undefined)
        return refuse(`${at}.hookName: ${JSON.stringify(entry['hookName'])}`);
      const args = strings(entry, 'args', at);
      const env = strings(entry, 'env', at);
      return {
        point,
        hook: {
          path: path(entry, 'path', at),
          ...(args.length === 0 ? {} : { args }),
          ...(env.length === 0 ? {} : { env }),
          ...number(entry, 'timeout', at),
        },
      };
    }),
    additionalGids: list('additionalGids').map((gid, index) => {
      const at = `${place}.additionalGids[${index}]`;
      return number({ gid }, 'gid', at)['gid'] ?? refuse(`${at}: ${JSON.stringify(gid)}`);
    }),
    intelRdt: isObject(intelRdt) ? intelRdt : undefined,
  };
}

/** A spec with what its devices need. Throws NotFound for a device node that this machine does not have. */
export function withCdiEdits(spec: Spec, edits: readonly CdiEdits[]): Spec {
  if (edits.length === 0) return spec;
  const nodes = edits.flatMap((one) => one.deviceNodes).map(nodeOf);
  const mounts = edits.flatMap((one) => one.mounts);
  const gids = edits.flatMap((one) => one.additionalGids).filter((gid) => gid !== 0);
  const { user } = spec.process;
  const rdt = edits.findLast((one) => one.intelRdt !== undefined)?.intelRdt;
  const netDevices = Object.fromEntries(
    edits.flatMap((one) => one.netDevices).map(({ host, name }) => [host, { name }]),
  );
  const isReplaced = (path: string) => nodes.some(({ device }) => device.path === path);
  return {
    ...spec,
    process: {
      ...spec.process,
      env: withEnv(
        spec.process.env ?? [],
        edits.flatMap((one) => one.env),
      ),
      user: { ...user, additionalGids: [...new Set([...(user.additionalGids ?? []), ...gids])] },
    },
    mounts: [
      ...(spec.mounts ?? []).filter(
        ({ destination }) => !mounts.some((mount) => mount.destination === destination),
      ),
      ...mounts.toSorted((a, b) => depth(a.destination) - depth(b.destination)),
    ],
    hooks: hooksOf(spec.hooks ?? {}, edits),
    linux: {
      ...spec.linux,
      devices: [
        ...(spec.linux?.devices ?? []).filter(({ path }) => !isReplaced(path)),
        ...nodes.map(({ device }) => device),
      ],
      ...(Object.keys(netDevices).length === 0 ? {} : { netDevices }),
      ...(rdt === undefined ? {} : { intelRdt: rdt as NonNullable<Linux['intelRdt']> }),
      resources: {
        ...spec.linux?.resources,
        devices: [
          ...(spec.linux?.resources?.devices ?? []),
          ...nodes.flatMap(({ rule }) => rule ?? []),
        ],
      },
    },
  };
}

function nodeOf({ path, hostPath, permissions, given }: DeviceNode): {
  readonly device: Device;
  readonly rule: DeviceRule | undefined;
} {
  const isWhole = given.type === 'p' || (given.type && given.major !== undefined);
  const device: Device = isWhole
    ? { minor: 0, ...given, type: given.type ?? 'c', path }
    : { ...deviceNode(hostPath, path), ...given };
  if (device.type === 'p') return { device, rule: undefined };
  const type = device.type === 'b' ? 'b' : 'c';
  const { major = 0, minor = 0 } = device;
  return { device, rule: { allow: true, type, major, minor, access: permissions } };
}

function withEnv(env: readonly string[], added: readonly string[]): string[] {
  const nameOf = (entry: string): string => entry.split('=', 1)[0] ?? entry;
  const names = new Set(added.map(nameOf));
  return [...env.filter((entry) => !names.has(nameOf(entry))), ...added];
}

function hooksOf(hooks: NonNullable<Spec['hooks']>, edits: readonly CdiEdits[]) {
  const added = edits.flatMap((one) => one.hooks);
  const merged: { [point in HookPoint]?: readonly Hook[] } = { ...hooks };
  for (const { point, hook } of added) merged[point] = [...(merged[point] ?? []), hook];
  return merged;
}

const depth = (path: string): number => path.split('/').length;

/** Throws when a container asks for devices where CDI is off. */
export function refuseCdi(names: readonly string[]): void {
  if (names.length === 0) return;
  throw new TsError('FailedPrecondition', `CDI device ${names[0]}: CDI is off`, {
    advice: 'set enable_cdi = true',
  });
}
