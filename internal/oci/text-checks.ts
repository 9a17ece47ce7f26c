/**
 * Checks of single texts of config.json. Each says what is wrong, undefined if nothing is.
 *
 * A text that becomes a line of a file, a C string or a part of a path must not smuggle in a second
 * one: separators and control characters are refused by name (CVE-2022-0811, CVE-2022-4318).
 */
type Verdict = string | undefined;

// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
const CONTROL_CHARACTER = /[\0-\x08\x0a-\x1f\x7f]/; // all but tab

/** A C string. */
export function withoutNul(value: string): Verdict {
  return value.includes('\0') ? 'contains a NUL character' : undefined;
}

export function someText(value: string): Verdict {
  return value === '' ? 'is empty' : withoutNul(value);
}

export function oneLine(value: string): Verdict {
  return CONTROL_CHARACTER.test(value)
    ? `${JSON.stringify(value)} contains a control character`
    : undefined;
}

export function oneWord(value: string): Verdict {
  return /^[^\s/\p{Cc}]+$/u.test(value) && value !== '.' && value !== '..'
    ? undefined
    : `${JSON.stringify(value)} is not one word without slashes`;
}

/** linux.intelRdt.closID: a directory of resctrl, or `/`, its root. */
export function closId(value: string): Verdict {
  return value === '/' ? undefined : oneWord(value);
}

/** linux.intelRdt.memBwSchema */
export function bandwidthSchema(value: string): Verdict {
  if (value !== '' && !value.startsWith('MB:')) {
    return `${JSON.stringify(value)} does not start with "MB:"`;
  }
  return oneLine(value);
}

export function absolutePath(value: string): Verdict {
  return value.startsWith('/')
    ? withoutNul(value)
    : `${JSON.stringify(value)} is not an absolute path`;
}

/** `NAME=value` */
export function environmentEntry(value: string): Verdict {
  if (value.startsWith('=')) return `${JSON.stringify(value)} has no name before "="`;
  if (!value.includes('=')) return `${JSON.stringify(value)} has no "="`;
  return withoutNul(value);
}

/** Versions 1.x of the spec, pre-releases included (config.md#specification-version); runc takes `1.0`. */
export function specVersion(value: string): Verdict {
  if (!/^[0-9]+\.[0-9]+(?:\.[0-9]+)?(?:[-+][0-9A-Za-z.+-]+)?$/.test(value)) {
    return `${JSON.stringify(value)} is not a version such as "1.2.0"`;
  }
  return value.startsWith('1.') ? undefined : `version ${value} is not known, only 1.x is`;
}

/** Lists of CPUs or memory nodes, as in cpuset(7): `0-3,7`. */
export function numberRanges(value: string): Verdict {
  return /^[0-9, :/-]*$/.test(value)
    ? undefined
    : `${JSON.stringify(value)} is not a list such as "0-3,7"`;
}

export function deviceRuleType(value: string): Verdict {
  return value === 'a' || value === 'b' || value === 'c'
    ? undefined
    : `unknown device type ${JSON.stringify(value)}, known are "a", "b" and "c"`;
}

export function deviceAccess(value: string): Verdict {
  return /^[rwm]+$/.test(value)
    ? undefined
    : `${JSON.stringify(value)} is not made of "r", "w" and "m"`;
}

export function hugepageSize(value: string): Verdict {
  return /^[1-9][0-9]*[KMG]B$/.test(value)
    ? undefined
    : `${JSON.stringify(value)} is not a size such as "2MB"`;
}

/** Names of network devices: dev_valid_name of the kernel, IFNAMSIZ with its NUL. */
export function interfaceName(value: string): Verdict {
  return /^[^\s/:\p{Cc}]+$/u.test(value) &&
    value !== '.' &&
    value !== '..' &&
    Buffer.byteLength(value) <= 15
    ? undefined
    : `${JSON.stringify(value)} is not a network device name (15 bytes, no "/", ":" or space)`;
}

/** A file of a cgroup directory, not one elsewhere. */
export function cgroupFileName(value: string): Verdict {
  return /^[A-Za-z0-9_.-]+$/.test(value) && value !== '.' && value !== '..'
    ? undefined
    : `${JSON.stringify(value)} is not the name of a cgroup file`;
}

/** sysctl(8) names, parts separated by dots or slashes. */
export function sysctlName(value: string): Verdict {
  return /^[A-Za-z0-9_@:*+,-]+(?:[./][A-Za-z0-9_@:*+,-]+)*$/.test(value)
    ? undefined
    : `${JSON.stringify(value)} is not a sysctl name`;
}
