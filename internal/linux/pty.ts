import { AT_FDCWD, OpenFlag } from './constants/file.ts';
import { combine } from './constants/flags.ts';
import { TerminalIoctl } from './constants/terminal.ts';
import { OwnedFd } from './fd.ts';
import { syscall } from './syscall.ts';

/** Size of a terminal in characters. */
export interface WindowSize {
  readonly columns: number;
  readonly rows: number;
}

const OPEN_FLAGS = combine(OpenFlag, ['O_RDWR', 'O_NOCTTY', 'O_CLOEXEC']);

/**
 * The master of a new pseudo-terminal, unlocked. `ptmx` is the multiplexer of the devpts that it is
 * to belong to.
 */
export function openPty(ptmx = '/dev/ptmx'): OwnedFd {
  const fd = new OwnedFd(syscall(() => `open ${ptmx}`, 'openat', AT_FDCWD, ptmx, OPEN_FLAGS, 0));
  try {
    const unlocked = Buffer.alloc(4);
    const operation = () => 'unlock pseudo-terminal';
    syscall(operation, 'ioctl', fd.number, TerminalIoctl.TIOCSPTLCK, unlocked);
    return fd;
  } catch (thrown) {
    fd.close();
    throw thrown;
  }
}

/** N of /dev/pts/N, the name of a master's other end in its own devpts. */
export function ptyNumber(master: number): number {
  const number = Buffer.alloc(4);
  syscall(() => 'get pseudo-terminal number', 'ioctl', master, TerminalIoctl.TIOCGPTN, number);
  return number.readUInt32LE(0);
}

/**
 * The other end of a master (TIOCGPTPEER, Linux 4.13). No path is looked up, so nobody can put
 * another file in its place.
 */
export function openPtyPeer(master: number): OwnedFd {
  const operation = () => 'open pseudo-terminal peer';
  return new OwnedFd(syscall(operation, 'ioctl', master, TerminalIoctl.TIOCGPTPEER, OPEN_FLAGS));
}

/** TIOCSWINSZ: the foreground processes get SIGWINCH if it changes. */
export function setWindowSize(terminal: number, size: WindowSize): void {
  const winsize = Buffer.alloc(8);
  winsize.writeUInt16LE(size.rows, 0);
  winsize.writeUInt16LE(size.columns, 2);
  syscall(() => 'set window size', 'ioctl', terminal, TerminalIoctl.TIOCSWINSZ, winsize);
}

/** TIOCGWINSZ. */
export function windowSize(terminal: number): WindowSize {
  const winsize = Buffer.alloc(8);
  syscall(() => 'get window size', 'ioctl', terminal, TerminalIoctl.TIOCGWINSZ, winsize);
  return { rows: winsize.readUInt16LE(0), columns: winsize.readUInt16LE(2) };
}

/** c_oflag is the 32 bits at 4 of struct termios (asm-generic/termbits.h). */
const TERMIOS_BYTES = 60;
const OPOST = 1;

/**
 * Switches output processing off: `\n` reaches the reader as it was written, not as `\r\n`.
 */
export function disableOutputProcessing(terminal: number): void {
  const termios = Buffer.alloc(TERMIOS_BYTES);
  syscall(() => 'get terminal attributes', 'ioctl', terminal, TerminalIoctl.TCGETS, termios);
  termios.writeUInt32LE((termios.readUInt32LE(4) & ~OPOST) >>> 0, 4);
  syscall(() => 'set terminal attributes', 'ioctl', terminal, TerminalIoctl.TCSETS, termios);
}
