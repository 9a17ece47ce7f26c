import { readFileSync, readlinkSync } from 'node:fs';
import { MemfdFlag } from '../constants/file.ts';
import { flags, named } from '../constants/flags.ts';
import { MemoryMapOperation } from '../constants/process.ts';
import { currentBreak, processLayout } from '../process-layout.ts';
import { bytesOf, Memory, Named, type Result } from '../program/argument.ts';
import type { Sequence } from '../program/sequence.ts';
import type { Step } from '../program/step.ts';
import { prctl } from './credentials.ts';

/**
 * Attack: a process in the container opens /proc/PID/exe of the waiting child, or makes the child
 * execute /proc/self/exe, and so gets the host's runtime binary to write to (CVE-2019-5736).
 *
 * Defence: the child has its own copy of memory and no use for the runtime's code, so it unmaps the
 * binary and gives itself an empty memfd as executable file (prctl PR_SET_MM_MAP, which refuses with
 * EBUSY while the old file is mapped). Nothing has to be copied or mounted for it.
 *
 * Adds the steps to a child. From then on its /proc/PID/exe is that memfd, its /proc/PID/cmdline is
 * `title` and its /proc/PID/environ is empty. Needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN in the
 * child's user namespace (before Linux 5.9: CAP_SYS_RESOURCE or CAP_SYS_ADMIN).
 */
export function replaceExecutable(child: Sequence, title: string): void {
  const map = memoryMap(title);
  const executable = createExecutable(child, map);
  executableMappings ??= mappingsOf(readlinkSync('/proc/self/exe'));
  for (const { start, end } of executableMappings) {
    const address = new Named(start, () => `0x${start.toString(16)}`);
    child.add({ label: 'unmap the runtime', call: 'munmap', args: [address, end - start] });
  }
  const operation = named(MemoryMapOperation, 'PR_SET_MM_MAP');
  child.add(prctl('PR_SET_MM', 'replace the executable file', operation, map, MM_MAP_BYTES));
  child.add({ label: 'close the executable file', call: 'close', args: [executable] });
}

/** The dynamic linker has made them all before the program began, and nobody changes them. */
let executableMappings: readonly { start: number; end: number }[] | undefined;

/** struct prctl_mm_map (linux/prctl.h): twelve words, then auxv_size and exe_fd of 32 bits. */
const MM_MAP_BYTES = 104;
const EXE_FD_OFFSET = 100;

/**
 * The memfd, executable where the vm.memfd_noexec sysctl demands that this is said (MFD_EXEC, Linux
 * 6.3; older kernels answer EINVAL and need no flag). Stored right where PR_SET_MM_MAP wants it.
 */
function createExecutable(child: Sequence, map: Memory): Result {
  const label = 'create the executable file';
  const memfd = (...names: MemfdFlag[]): Step => {
    const args = ['executable', flags(MemfdFlag, ['MFD_CLOEXEC', ...names])];
    return { label, call: 'memfd_create', args };
  };
  const into = map.field(EXE_FD_OFFSET, 'exe_fd');
  return child.add(memfd('MFD_EXEC'), {
    as: 'exe_fd',
    into,
    tolerate: 'EINVAL',
    ifTolerated: (older) => older.add(memfd(), { into }),
  });
}

/**
 * The child's memory layout as it is, so that the call changes nothing but the executable file and
 * the arguments. Its numbers are those of this process, of which the child is a copy.
 */
function memoryMap(title: string): Memory {
  const text = bytesOf(`${title}\0`);
  const { startCode, endCode, startData, endData, startBreak, startStack } = processLayout();
  const brk = BigInt(currentBreak());
  const layout = [startCode, endCode, startData, endData, startBreak, brk, startStack];
  return new Memory(
    EXE_FD_OFFSET + 8,
    () => `{cmdline="${title}", exe_fd}`,
    (view, placement) => {
      const start = BigInt(placement.memory(text));
      const end = start + BigInt(text.size);
      // arg_start, arg_end, env_start, env_end; no auxv
      [...layout, start, end, end, end].forEach((word, position) => {
        view.setBigUint64(position * 8, word, true);
      });
    },
  );
}

/** Address ranges of this process that map a file. */
function mappingsOf(path: string): { start: number; end: number }[] {
  const ofFile = ` ${path}`;
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.endsWith(ofFile))
    .map((line) => {
      const [start = 0, end = 0] = line.slice(0, line.indexOf(' ')).split('-').map(parseHex);
      return { start, end };
    });
}

function parseHex(digits: string): number {
  return Number.parseInt(digits, 16);
}
