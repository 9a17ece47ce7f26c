// Unix sockets on which processes listen: a shim's lies outside of the workspace and stays when the shim is killed.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** The paths of the sockets on which `pid` listens; none when it has ended. */
export function listeningSockets(pid: number): string[] {
  const paths = pathsByInode();
  return openFiles(pid)
    .map((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? '')
    .flatMap((inode) => paths.get(inode) ?? []);
}

/** Source: man 5 proc_net, /proc/net/unix: Num RefCount Protocol Flags Type St Inode Path. */
function pathsByInode(): Map<string, string> {
  const LISTENING = 0x10000;
  const rows = readFileSync('/proc/net/unix', 'utf8').trim().split('\n').slice(1);
  const found = new Map<string, string>();
  for (const row of rows) {
    const [, , , flags = '0', , , inode = '', path = ''] = row.split(/\s+/);
    if ((Number.parseInt(flags, 16) & LISTENING) !== 0 && path.startsWith('/'))
      found.set(inode, path);
  }
  return found;
}

function openFiles(pid: number): string[] {
  return unlessGone(() => readdirSync(`/proc/${pid}/fd`), []).map((fd) =>
    unlessGone(() => readlinkSync(`/proc/${pid}/fd/${fd}`), ''),
  );
}

/** A process may end, or close a file, while it is being read: that file must not hide its others. */
function unlessGone<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}
