/** Terminal ioctls (asm-generic/ioctls.h: the same on x86-64 and arm64). */
export const TerminalIoctl = {
  TCGETS: 0x5401,
  TCSETS: 0x5402,
  TIOCSCTTY: 0x540e,
  TIOCGWINSZ: 0x5413,
  TIOCSWINSZ: 0x5414,
  TIOCGPTN: 0x80045430,
  TIOCSPTLCK: 0x40045431,
  TIOCGPTPEER: 0x5441,
} as const;
export type TerminalIoctl = keyof typeof TerminalIoctl;
