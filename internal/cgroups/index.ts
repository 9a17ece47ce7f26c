export type {
  CgroupLayout,
  CgroupManager,
  CgroupOptions,
  CgroupResources,
} from './cgroup-manager.ts';
export type * from './statistics.ts';
