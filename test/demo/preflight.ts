// What the demonstration needs of the machine, looked at before anything is done.
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** CAP_SYS_ADMIN's number: without it neither mounts nor namespaces. Source: man 7 capabilities. */
const CAP_SYS_ADMIN = 21n;

/** Files that tell about the machine; a test gives others. */
export interface Machine {
  readonly uid: number;
  readonly platform: string;
  /** /proc/self/status */
  readonly status: string;
  /** /proc/self/mountinfo */
  readonly mountinfo: string;
  /** Names in /proc/self/ns. */
  readonly namespaces: readonly string[];
}

/** Reads them from this machine. */
export function thisMachine(): Machine {
  const read = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8') : '');
  return {
    uid: process.getuid?.() ?? -1,
    platform: process.platform,
    status: read('/proc/self/status'),
    mountinfo: read('/proc/self/mountinfo'),
    namespaces: existsSync('/proc/self/ns') ? readdirSync('/proc/self/ns') : [],
  };
}

/** One sentence that says what is missing and what to do about it, or undefined when the demonstration can run. */
export function whatIsMissing(machine: Machine): string | undefined {
  if (machine.platform !== 'linux') {
    return `This runs Linux containers, and this machine runs ${machine.platform}.`;
  }
  if (machine.uid !== 0) {
    return 'Namespaces, mounts and cgroups need root here: run it as "sudo make demo".';
  }
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(machine.status)?.[1] ?? '0';
  if (((BigInt(`0x${effective}`) >> CAP_SYS_ADMIN) & 1n) === 0n) {
    return (
      'Root lacks the capability CAP_SYS_ADMIN, as it does inside a usual container: ' +
      'run this on the host, or in a privileged container.'
    );
  }
  const absent = ['mnt', 'pid', 'net', 'ipc', 'uts'].filter((n) => !machine.namespaces.includes(n));
  if (absent.length > 0) {
    return `This kernel was built without the namespaces ${absent.join(', ')}: use another kernel.`;
  }
  const cgroups = machine.mountinfo.split('\n').filter((line) => / - cgroup2? /.test(line));
  if (cgroups.length === 0) {
    return 'No cgroup hierarchy is mounted: mount one with "mount -t cgroup2 cgroup2 /sys/fs/cgroup".';
  }
  const isWritable = (line: string) => / rw(,|$)/.test(` ${line.split(' ')[5] ?? ''}`);
  if (!cgroups.some(isWritable)) {
    return 'The cgroup hierarchies are mounted read-only: mount them read-write, or run on the host.';
  }
  return undefined;
}
