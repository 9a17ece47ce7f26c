export type * from './features.ts';
export type * from './spec.ts';
export { HOOK_POINTS } from './spec.ts';
export type * from './spec-linux.ts';
export {
  NAMESPACE_TYPES,
  ROOTFS_PROPAGATIONS,
  SECCOMP_ACTIONS,
  SECCOMP_ARCHITECTURES,
  SECCOMP_FLAGS,
  SECCOMP_OPERATORS,
} from './spec-linux.ts';
export type * from './spec-resources.ts';
export type * from './state.ts';
