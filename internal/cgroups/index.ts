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
export { containerDeviceRules } from './device-rules.ts';
export { removeIdleCgroup } from './idle-cgroup.ts';
export { memoryNow, refuseBelowUsage } from './memory-now.ts';
export { adoptCgroup, locateCgroup, openCgroup } from './open-cgroup.ts';
export {
  locateResctrl,
  ResctrlGroup,
  type ResctrlHost,
  type ResctrlPaths,
  resctrlMissing,
} from './resctrl.ts';
export { schemaLines } from './resctrl-schemata.ts';
export { type ResctrlStatistics, readResctrlStatistics } from './resctrl-statistics.ts';
export type * from './statistics.ts';
export type { ScopeName } from './systemd/container-scope.ts';
export { readV1EventDetails, type V1EventDetails } from './v1-event-details.ts';
export { hasInnerCgroups } from './v2-controllers.ts';

/** What speaks with systemd, and the D-Bus library: loaded by those alone who use it as the cgroup driver. */
export async function systemdDriver() {
  return import('./systemd/container-scope.ts');
}
