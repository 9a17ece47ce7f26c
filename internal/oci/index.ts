export { childLabels } from './child-labels.ts';
export { defaultSeccomp } from './default-seccomp.ts';
export { defaultSpec, OCI_VERSION, rootlessSpec } from './default-spec.ts';
export type * from './descriptor.ts';
export * from './digest.ts';
export * from './engine-defaults.ts';
export type * from './features.ts';
export * from './image-document.ts';
export { formatJson, type Json, parseJson } from './json.ts';
export * from './media-type.ts';
export { MOUNT_OPTION_NAMES } from './mount-option-check.ts';
export * from './names.ts';
export { nearestName } from './nearest-name.ts';
export {
  parseProcess,
  parseResources,
  parseSeccomp,
  parseSpec,
  refuseProperties,
} from './parse-spec.ts';
export {
  bestPlatform,
  formatPlatform,
  hostPlatform,
  isSamePlatform,
  normalizePlatform,
  type Platform,
  platformDistance,
  runnablePlatforms,
} from './platform.ts';
export { propertyError } from './schema-check.ts';
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
export { namespaceOfSysctl } from './spec-rules.ts';
export type * from './state.ts';
