import { type Sequence, steps } from '../linux/index.ts';
import type { StringMap } from '../oci/index.ts';

/**
 * Attack: /proc of the image is a fake, or parts of it are covered while the runtime writes, so that
 * a sysctl goes to another file (CVE-2025-52881). Defence: they are written through the host's own
 * /proc, which shows each process the sysctls of its namespaces.
 */
export function addSysctls(sequence: Sequence, proc: number, sysctls: StringMap): void {
  for (const [name, value] of Object.entries(sysctls)) {
    const label = `set sysctl ${name}=${value}`;
    const path = `sys/${sysctlPath(name)}`;
    const fd = sequence.add(
      steps.open({
        directory: proc,
        path,
        flags: ['O_WRONLY'],
        resolve: ['RESOLVE_BENEATH', 'RESOLVE_NO_SYMLINKS', 'RESOLVE_NO_XDEV'],
      }),
      { label },
    );
    sequence.add(steps.write(fd, value), { label });
    sequence.add(steps.close(fd));
  }
}

/**
 * The path below /proc/sys. As sysctl(8) has it, whichever of dot and slash comes first separates,
 * and the other one stands for a dot in a name (`net/ipv4/conf/eth0.1/forwarding`).
 */
export function sysctlPath(name: string): string {
  const separator = /[./]/.exec(name)?.[0];
  if (separator !== '.') return name;
  return name.replace(/[./]/g, (found) => (found === '.' ? '/' : '.'));
}
