import { OpenFlag } from '../constants/file.ts';
import { flags, named } from '../constants/flags.ts';
import { TerminalIoctl } from '../constants/terminal.ts';
import { Memory, type Value } from '../program/argument.ts';
import type { Step } from '../program/step.ts';

/** TIOCSPTLCK: lets the other end of a pseudo-terminal's master be opened. */
export function unlockPty(master: Value): Step {
  const unlocked = new Memory(4, () => '{0}');
  const args = [master, named(TerminalIoctl, 'TIOCSPTLCK'), unlocked];
  return { label: 'unlock pseudo-terminal', call: 'ioctl', args };
}

/** TIOCGPTPEER: the other end of a master, without looking up a path that may lie. Linux 4.13. */
export function openPtyPeer(master: Value): Step {
  const openFlags = flags(OpenFlag, ['O_RDWR', 'O_NOCTTY', 'O_CLOEXEC']);
  const args = [master, named(TerminalIoctl, 'TIOCGPTPEER'), openFlags];
  return { label: 'open pseudo-terminal peer', call: 'ioctl', args };
}

/** TIOCSWINSZ. */
export function setWindowSize(terminal: Value, size: { columns: number; rows: number }): Step {
  const winsize = new Memory(
    8,
    () => `{${size.rows} rows, ${size.columns} columns}`,
    (view) => {
      view.setUint16(0, size.rows, true);
      view.setUint16(2, size.columns, true);
    },
  );
  const args = [terminal, named(TerminalIoctl, 'TIOCSWINSZ'), winsize];
  return { label: 'set window size', call: 'ioctl', args };
}
