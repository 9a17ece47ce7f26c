/** Actions of libseccomp, in the names of the runtime-spec (seccomp.h). */
export const SeccompAction = {
  SCMP_ACT_KILL: 0x00000000,
  SCMP_ACT_KILL_THREAD: 0x00000000,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_NOTIFY: 0x7fc00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
} as const;
export type SeccompAction = keyof typeof SeccompAction;

/** Comparisons of an argument (enum scmp_compare). */
export const SeccompOperator = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
} as const;
export type SeccompOperator = keyof typeof SeccompOperator;

/** Filter attributes (enum scmp_filter_attr). */
export const SeccompAttribute = {
  SCMP_FLTATR_ACT_BADARCH: 2,
  SCMP_FLTATR_CTL_NNP: 3,
  SCMP_FLTATR_CTL_OPTIMIZE: 8,
} as const;
export type SeccompAttribute = keyof typeof SeccompAttribute;
