/**
 * The terminal of a container, from the container's own devpts.
 *
 * Attack: /dev/pts or /dev/console of the image is something else, so that the runtime puts the
 * terminal, or binds a file of the attacker, where it is not wanted (CVE-2025-52565, crun
 * CVE-2026-88264). Defence: the multiplexer is opened without following symlinks and must lie on a
 * devpts; the other end comes from it by ioctl, not by name; /dev/console must be no symlink.
 */
import { type Sequence, steps, type Value } from '../linux/index.ts';
import { ensureFile, openStep } from './in-root.ts';

export interface ConsoleOptions {
  readonly root: Value;
  /** Connected socket that gets the master. */
  readonly socket: number;
  readonly size: { readonly height: number; readonly width: number } | undefined;
  /** Whether to put the terminal on /dev/console; not for exec. */
  readonly bindsDevConsole: boolean;
}

const PTMX = '/dev/pts/ptmx';

/** Opens a pseudo-terminal, sends its master away and makes the other end stdio. */
export function addConsole(sequence: Sequence, options: ConsoleOptions): void {
  const { root, socket, size } = options;
  const message = new steps.FdMessage();
  const master = sequence.add(openStep(root, PTMX, ['O_RDWR', 'O_NOCTTY'], true), {
    label: `open terminal ${PTMX}`,
    as: 'master',
    into: message.fd,
  });
  steps.checkFileSystem(sequence, master, 'DEVPTS_SUPER_MAGIC', PTMX);
  sequence.add(steps.unlockPty(master));
  const peer = sequence.add(steps.openPtyPeer(master), { as: 'terminal' });
  if (size !== undefined) {
    const { height: rows, width: columns } = size;
    sequence.add(steps.setWindowSize(peer, { rows, columns }));
  }
  if (options.bindsDevConsole) addDevConsole(sequence, root, peer);
  sequence.add(message.send(socket, PTMX), { label: 'send the terminal to the console socket' });
  sequence.add(steps.close(master));
  for (const fd of [0, 1, 2]) sequence.add(steps.duplicate(peer, fd));
  sequence.add(steps.setControllingTerminal(0));
  sequence.add(steps.close(peer));
}

function addDevConsole(sequence: Sequence, root: Value, peer: Value): void {
  const purpose = 'bind the terminal on /dev/console';
  const flags = ['OPEN_TREE_CLONE', 'OPEN_TREE_CLOEXEC', 'AT_EMPTY_PATH'] as const;
  const tree = sequence.add(steps.openTree({ directory: peer, path: '', flags }), {
    label: purpose,
  });
  const target = ensureFile(sequence, root, '/dev/console', { purpose, withoutSymlinks: true });
  sequence.add(steps.moveMount({ from: tree, to: target }), { label: purpose });
  sequence.add(steps.close(target));
  sequence.add(steps.close(tree));
}
