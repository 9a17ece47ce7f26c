/** NUMA memory policies, in the names of the runtime-spec (linux/mempolicy.h). */
export const MemoryPolicy = {
  MPOL_DEFAULT: 0,
  MPOL_PREFERRED: 1,
  MPOL_BIND: 2,
  MPOL_INTERLEAVE: 3,
  MPOL_LOCAL: 4,
  MPOL_PREFERRED_MANY: 5,
  MPOL_WEIGHTED_INTERLEAVE: 6,
} as const;
export type MemoryPolicy = keyof typeof MemoryPolicy;

/** Flags that go with a policy's mode. */
export const MemoryPolicyFlag = {
  MPOL_F_NUMA_BALANCING: 1 << 13,
  MPOL_F_RELATIVE_NODES: 1 << 14,
  MPOL_F_STATIC_NODES: 1 << 15,
} as const;
export type MemoryPolicyFlag = keyof typeof MemoryPolicyFlag;
