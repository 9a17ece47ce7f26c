import type { Device as CriDevice } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import type { Device, DeviceRule } from '../oci/index.ts';
import { devicesAt } from '../rootfs/host-devices.ts';

/** Devices of a container, and the cgroup rules that let it use them. */
export interface Devices {
  readonly devices: readonly Device[];
  readonly rules: readonly DeviceRule[];
}

/** What nothing allows is denied; the runtime itself adds the devices that every container has. */
const DENY_ALL: DeviceRule = { allow: false, access: 'rwm' };
const ALLOW_ALL: DeviceRule = { allow: true, access: 'rwm' };

/**
 * The devices that a container asks for; with `allowsAll` it may use every other that it makes itself. Throws by the
 * device's path; a directory stands for what is in it.
 */
export function requestedDevices(devices: readonly CriDevice[], allowsAll = false): Devices {
  const found = devices.flatMap(({ hostPath, containerPath, permissions }) => {
    const access = permissions === '' ? 'rwm' : permissions;
    if (!/^[rwm]{1,3}$/.test(access)) {
      throw new TsError('InvalidArgument', `device ${hostPath}: permissions "${permissions}"`, {
        advice: 'use letters of r, w and m',
      });
    }
    const target = containerPath === '' ? hostPath : containerPath;
    return devicesAt(hostPath, target).map((device) => ({ device, access }));
  });
  return {
    devices: found.map(({ device }) => device),
    rules: [
      allowsAll ? ALLOW_ALL : DENY_ALL,
      ...found.map(({ device, access }) => ({
        allow: true,
        type: device.type === 'b' ? ('b' as const) : ('c' as const),
        major: device.major ?? 0,
        minor: device.minor ?? 0,
        access,
      })),
    ],
  };
}

/** Every device of the host, for a privileged container. */
export function hostDevices(): Devices {
  return { devices: devicesAt('/dev', '/dev'), rules: [ALLOW_ALL] };
}

/** No device but those that the runtime gives to all. */
export const NO_DEVICES: Devices = { devices: [], rules: [DENY_ALL] };
