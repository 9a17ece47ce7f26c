import { writeSync } from 'node:fs';
import { FcntlCommand, MemfdFlag, Seal } from './constants/file.ts';
import { combine } from './constants/flags.ts';
import { OwnedFd } from './fd.ts';
import { syscall } from './syscall.ts';

/** An unnamed file in memory (memfd_create(2)) with the given contents, close-on-exec. */
export function createMemfd(
  name: string,
  contents: Uint8Array = new Uint8Array(0),
  flags: readonly MemfdFlag[] = ['MFD_CLOEXEC', 'MFD_ALLOW_SEALING'],
): OwnedFd {
  const bits = combine(MemfdFlag, flags);
  const fd = new OwnedFd(syscall(() => `create memfd ${name}`, 'memfd_create', name, bits));
  try {
    let written = 0;
    while (written < contents.length) written += writeSync(fd.number, contents, written);
    return fd;
  } catch (thrown) {
    fd.close();
    throw thrown;
  }
}

/** Forbids changes of a memfd for good (fcntl(2) F_ADD_SEALS). */
export function addSeals(fd: OwnedFd, seals: readonly Seal[]): void {
  const bits = combine(Seal, seals);
  syscall(() => 'seal memfd', 'fcntl', fd.number, FcntlCommand.F_ADD_SEALS, bits);
}
