// The properties of config.json as one table, in the order of the specification: in two files a reader could not see that a
// property stands in it once.
import {
  CAPABILITY_NAMES,
  IO_PRIORITY_CLASSES,
  MEMORY_POLICY_FLAGS,
  MEMORY_POLICY_MODES,
  PERSONALITY_DOMAINS,
  RLIMIT_NAMES,
  SCHEDULER_FLAGS,
  SCHEDULER_POLICIES,
} from './names.ts';
import {
  NAMESPACE_TYPES,
  ROOTFS_PROPAGATIONS,
  SECCOMP_ACTIONS,
  SECCOMP_ARCHITECTURES,
  SECCOMP_FLAGS,
  SECCOMP_OPERATORS,
} from './spec-linux.ts';
import * as text from './text-checks.ts';

/**
 * What a property must look like, as data: {@link ./schema-check.ts} walks it beside the document.
 * A document is checked at every call of the runtime, so nothing here is computed at start-up.
 */
export type Rule =
  | BooleanRule
  | IntegerRule
  | TextRule
  | NameRule
  | ListRule
  | MapRule
  | ObjectRule;

interface Presence {
  /** The parent without it is refused. */
  readonly required?: true;
  /** The value of an absent property. */
  readonly otherwise?: unknown;
}

interface BooleanRule extends Presence {
  readonly is: 'boolean';
}

/** `wide` integers become bigints, the others numbers. Limits are inclusive. */
interface IntegerRule extends Presence {
  readonly is: 'integer';
  readonly min: number | bigint;
  readonly max: number | bigint;
  readonly wide?: true;
}

interface TextRule extends Presence {
  readonly is: 'text';
  /** Says what is wrong with a value, undefined if nothing is. */
  readonly check?: (value: string) => string | undefined;
}

/** One of a fixed set; `what` is what the set is of: `unknown namespace "netwrk"`. */
interface NameRule extends Presence {
  readonly is: 'name';
  readonly what: string;
  readonly names: readonly string[];
}

interface ListRule extends Presence {
  readonly is: 'list';
  readonly of: Rule;
}

/** An object with any keys; `key` says what is wrong with one. */
interface MapRule extends Presence {
  readonly is: 'map';
  readonly of: Rule;
  readonly key?: (key: string) => string | undefined;
}

export interface ObjectRule extends Presence {
  readonly is: 'object';
  readonly has: Readonly<Record<string, Rule>>;
}

const BOOLEAN: Rule = { is: 'boolean' };
const UINT32: IntegerRule = { is: 'integer', min: 0, max: 4294967295 };
/** Of a user or group. The greatest number is -1 to setresuid(2) and chown(2): stay who you are, root. */
const ID: IntegerRule = { is: 'integer', min: 0, max: 4294967294 };
const UINT16: Rule = { is: 'integer', min: 0, max: 65535 };
const INT32: IntegerRule = { is: 'integer', min: -2147483648, max: 2147483647 };
const UINT64: IntegerRule = { is: 'integer', min: 0n, max: 18446744073709551615n, wide: true };
const INT64: IntegerRule = {
  is: 'integer',
  min: -9223372036854775808n,
  max: 9223372036854775807n,
  wide: true,
};
/** Major and minor numbers: 12 and 20 bits in the kernel (MKDEV); -1 is any. */
const DEVICE_NUMBER: IntegerRule = { is: 'integer', min: 0, max: 4294967295 };
const DEVICE_NUMBER_OR_ANY: Rule = { is: 'integer', min: -1, max: 4294967295 };

const TEXT: TextRule = { is: 'text', check: text.withoutNul };
const LINE: Rule = { is: 'text', check: text.oneLine };
const TEXTS: Rule = { is: 'list', of: TEXT };
const ENVIRONMENT: Rule = { is: 'list', of: { is: 'text', check: text.environmentEntry } };
const ABSOLUTE_PATHS: Rule = { is: 'list', of: { is: 'text', check: text.absolutePath } };
const CAPABILITY_SET: Rule = {
  is: 'list',
  of: { is: 'name', what: 'capability', names: CAPABILITY_NAMES },
};

const HOOKS: Rule = {
  is: 'list',
  of: {
    is: 'object',
    has: {
      path: { is: 'text', check: text.absolutePath, required: true },
      args: TEXTS,
      env: TEXTS,
      timeout: { is: 'integer', min: 1, max: 2147483647 },
    },
  },
};

const ID_MAPPINGS: Rule = {
  is: 'list',
  of: {
    is: 'object',
    has: {
      containerID: { ...UINT32, required: true },
      hostID: { ...UINT32, required: true },
      size: { is: 'integer', min: 1, max: 4294967295, required: true },
    },
  },
};

/** config.md#process */
export const PROCESS: ObjectRule = {
  is: 'object',
  has: {
    terminal: BOOLEAN,
    consoleSize: {
      is: 'object',
      has: {
        height: { is: 'integer', min: 0, max: 65535, required: true },
        width: { is: 'integer', min: 0, max: 65535, required: true },
      },
    },
    user: {
      is: 'object',
      has: {
        uid: { ...ID, otherwise: 0 },
        gid: { ...ID, otherwise: 0 },
        umask: { is: 'integer', min: 0, max: 0o777 },
        additionalGids: { is: 'list', of: ID },
      },
      otherwise: { uid: 0, gid: 0 },
    },
    args: { is: 'list', of: TEXT, required: true },
    env: ENVIRONMENT,
    cwd: { is: 'text', check: text.absolutePath, required: true },
    capabilities: {
      is: 'object',
      has: {
        bounding: CAPABILITY_SET,
        effective: CAPABILITY_SET,
        inheritable: CAPABILITY_SET,
        permitted: CAPABILITY_SET,
        ambient: CAPABILITY_SET,
      },
    },
    rlimits: {
      is: 'list',
      of: {
        is: 'object',
        has: {
          type: { is: 'name', what: 'rlimit', names: RLIMIT_NAMES, required: true },
          hard: { ...UINT64, required: true },
          soft: { ...UINT64, required: true },
        },
      },
    },
    noNewPrivileges: BOOLEAN,
    apparmorProfile: LINE,
    oomScoreAdj: { is: 'integer', min: -1000, max: 1000 },
    scheduler: {
      is: 'object',
      has: {
        policy: {
          is: 'name',
          what: 'scheduling policy',
          names: SCHEDULER_POLICIES,
          required: true,
        },
        nice: { is: 'integer', min: -20, max: 19 },
        priority: INT32,
        flags: {
          is: 'list',
          of: { is: 'name', what: 'scheduling flag', names: SCHEDULER_FLAGS },
        },
        runtime: UINT64,
        deadline: UINT64,
        period: UINT64,
      },
    },
    selinuxLabel: LINE,
    ioPriority: {
      is: 'object',
      has: {
        class: {
          is: 'name',
          what: 'I/O priority class',
          names: IO_PRIORITY_CLASSES,
          required: true,
        },
        priority: { is: 'integer', min: 0, max: 7, otherwise: 0 },
      },
    },
    execCPUAffinity: {
      is: 'object',
      has: {
        initial: { is: 'text', check: text.numberRanges },
        final: { is: 'text', check: text.numberRanges },
      },
    },
  },
};

const THROTTLES: Rule = {
  is: 'list',
  of: {
    is: 'object',
    has: {
      major: { ...DEVICE_NUMBER, required: true },
      minor: { ...DEVICE_NUMBER, required: true },
      rate: { ...UINT64, required: true },
    },
  },
};

/** config-linux.md#control-groups */
export const RESOURCES: ObjectRule = {
  is: 'object',
  has: {
    devices: {
      is: 'list',
      of: {
        is: 'object',
        has: {
          allow: { is: 'boolean', required: true },
          type: { is: 'text', check: text.deviceRuleType },
          major: DEVICE_NUMBER_OR_ANY,
          minor: DEVICE_NUMBER_OR_ANY,
          access: { is: 'text', check: text.deviceAccess },
        },
      },
    },
    memory: {
      is: 'object',
      has: {
        limit: INT64,
        reservation: INT64,
        swap: INT64,
        kernel: INT64,
        kernelTCP: INT64,
        swappiness: UINT64,
        disableOOMKiller: BOOLEAN,
        useHierarchy: BOOLEAN,
        checkBeforeUpdate: BOOLEAN,
      },
    },
    cpu: {
      is: 'object',
      has: {
        shares: UINT64,
        quota: INT64,
        burst: UINT64,
        period: UINT64,
        realtimeRuntime: INT64,
        realtimePeriod: UINT64,
        cpus: { is: 'text', check: text.numberRanges },
        mems: { is: 'text', check: text.numberRanges },
        idle: { is: 'integer', min: 0, max: 1 },
      },
    },
    pids: { is: 'object', has: { limit: INT64 } },
    blockIO: {
      is: 'object',
      has: {
        weight: UINT16,
        leafWeight: UINT16,
        weightDevice: {
          is: 'list',
          of: {
            is: 'object',
            has: {
              major: { ...DEVICE_NUMBER, required: true },
              minor: { ...DEVICE_NUMBER, required: true },
              weight: UINT16,
              leafWeight: UINT16,
            },
          },
        },
        throttleReadBpsDevice: THROTTLES,
        throttleWriteBpsDevice: THROTTLES,
        throttleReadIOPSDevice: THROTTLES,
        throttleWriteIOPSDevice: THROTTLES,
      },
    },
    hugepageLimits: {
      is: 'list',
      of: {
        is: 'object',
        has: {
          pageSize: { is: 'text', check: text.hugepageSize, required: true },
          limit: { ...UINT64, required: true },
        },
      },
    },
    network: {
      is: 'object',
      has: {
        classID: UINT32,
        priorities: {
          is: 'list',
          of: {
            is: 'object',
            has: {
              name: { is: 'text', check: text.interfaceName, required: true },
              priority: { ...UINT32, required: true },
            },
          },
        },
      },
    },
    rdma: {
      is: 'map',
      key: text.oneWord,
      of: { is: 'object', has: { hcaHandles: UINT32, hcaObjects: UINT32 } },
    },
    unified: { is: 'map', key: text.cgroupFileName, of: TEXT },
  },
};

const TIME_OFFSET: Rule = {
  is: 'object',
  has: { secs: INT64, nanosecs: { is: 'integer', min: 0, max: 999999999 } },
};

export const SECCOMP_ACTION: Rule = {
  is: 'name',
  what: 'seccomp action',
  names: SECCOMP_ACTIONS,
  required: true,
};

/** config-linux.md#seccomp */
export const SECCOMP: ObjectRule = {
  is: 'object',
  has: {
    defaultAction: SECCOMP_ACTION,
    defaultErrnoRet: UINT32,
    architectures: {
      is: 'list',
      of: { is: 'name', what: 'seccomp architecture', names: SECCOMP_ARCHITECTURES },
    },
    flags: { is: 'list', of: { is: 'name', what: 'seccomp flag', names: SECCOMP_FLAGS } },
    listenerPath: TEXT,
    listenerMetadata: TEXT,
    syscalls: {
      is: 'list',
      of: {
        is: 'object',
        has: {
          names: { is: 'list', of: TEXT, required: true },
          action: SECCOMP_ACTION,
          errnoRet: UINT32,
          args: {
            is: 'list',
            of: {
              is: 'object',
              has: {
                index: { is: 'integer', min: 0, max: 5, required: true },
                value: { ...UINT64, required: true },
                valueTwo: UINT64,
                op: {
                  is: 'name',
                  what: 'seccomp operator',
                  names: SECCOMP_OPERATORS,
                  required: true,
                },
              },
            },
          },
        },
      },
    },
  },
};

/** config-linux.md */
const LINUX: ObjectRule = {
  is: 'object',
  has: {
    namespaces: {
      is: 'list',
      of: {
        is: 'object',
        has: {
          type: { is: 'name', what: 'namespace', names: NAMESPACE_TYPES, required: true },
          path: { is: 'text', check: text.absolutePath },
        },
      },
    },
    uidMappings: ID_MAPPINGS,
    gidMappings: ID_MAPPINGS,
    timeOffsets: { is: 'object', has: { boottime: TIME_OFFSET, monotonic: TIME_OFFSET } },
    devices: {
      is: 'list',
      of: {
        is: 'object',
        has: {
          type: { is: 'name', what: 'device type', names: ['c', 'b', 'u', 'p'], required: true },
          path: { is: 'text', check: text.absolutePath, required: true },
          major: DEVICE_NUMBER,
          minor: DEVICE_NUMBER,
          fileMode: { is: 'integer', min: 0, max: 4294967295 },
          uid: ID,
          gid: ID,
        },
      },
    },
    netDevices: {
      is: 'map',
      key: text.interfaceName,
      of: { is: 'object', has: { name: { is: 'text', check: text.interfaceName } } },
    },
    cgroupsPath: LINE,
    resources: RESOURCES,
    rootfsPropagation: {
      is: 'name',
      what: 'mount propagation',
      names: ROOTFS_PROPAGATIONS,
    },
    seccomp: SECCOMP,
    sysctl: { is: 'map', key: text.sysctlName, of: LINE },
    maskedPaths: ABSOLUTE_PATHS,
    readonlyPaths: ABSOLUTE_PATHS,
    mountLabel: LINE,
    intelRdt: {
      is: 'object',
      has: {
        closID: { is: 'text', check: text.closId },
        schemata: { is: 'list', of: LINE },
        l3CacheSchema: TEXT,
        memBwSchema: { is: 'text', check: text.bandwidthSchema },
        enableMonitoring: BOOLEAN,
      },
    },
    memoryPolicy: {
      is: 'object',
      has: {
        mode: { is: 'name', what: 'memory policy', names: MEMORY_POLICY_MODES, required: true },
        nodes: { is: 'text', check: text.numberRanges },
        flags: {
          is: 'list',
          of: { is: 'name', what: 'memory policy flag', names: MEMORY_POLICY_FLAGS },
        },
      },
    },
    personality: {
      is: 'object',
      has: {
        domain: {
          is: 'name',
          what: 'personality domain',
          names: PERSONALITY_DOMAINS,
          required: true,
        },
        flags: TEXTS,
      },
    },
  },
};

/** config.md */
export const CONFIG: ObjectRule = {
  is: 'object',
  has: {
    ociVersion: { is: 'text', check: text.specVersion, required: true },
    root: {
      is: 'object',
      has: { path: { is: 'text', check: text.someText, required: true }, readonly: BOOLEAN },
      required: true,
    },
    process: { ...PROCESS, required: true },
    hostname: LINE,
    domainname: LINE,
    mounts: {
      is: 'list',
      of: {
        is: 'object',
        has: {
          destination: { is: 'text', check: text.someText, required: true },
          type: LINE,
          source: TEXT,
          options: TEXTS,
          uidMappings: ID_MAPPINGS,
          gidMappings: ID_MAPPINGS,
        },
      },
    },
    hooks: {
      is: 'object',
      has: {
        prestart: HOOKS,
        createRuntime: HOOKS,
        createContainer: HOOKS,
        startContainer: HOOKS,
        poststart: HOOKS,
        poststop: HOOKS,
      },
    },
    annotations: { is: 'map', of: { is: 'text' } },
    linux: LINUX,
  },
};
