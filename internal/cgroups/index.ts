export type { CgroupFiles } from './cgroup-files.ts';
export {
  type CgroupHost,
  detectCgroupHost,
  type Hierarchy,
  parseCgroupHost,
} from './cgroup-host.ts';
export type {
  CgroupLayout,
  CgroupManager,
  CgroupOptions,
  CgroupResources,
} from './cgroup-manager.ts';
export { refuseSystemdDriver } from './cgroup-path.ts';
export { containerDeviceRules } from './device-rules.ts';
export { locateCgroup, openCgroup } from './open-cgroup.ts';
export type * from './statistics.ts';
