/** What the runtime does to a child from outside. */
import {
  connectUnix,
  kill,
  openPidfd,
  type ResourceLimit,
  sendFds,
  setResourceLimit,
  waitForChild,
} from '../linux/index.ts';
import type { IdentityPlan } from './identity-steps.ts';

const SIGKILL = 9;

/** Ends a child that nobody shall see. 0 is no child. */
export function killAndReap(pid: number): void {
  if (pid <= 0) return;
  kill(pid, SIGKILL);
  waitForChild(pid);
}

/** Sends a pidfd of the child; `type` says what it is, `standard` for init, `setns` for exec. */
export function sendPidfd(socketPath: string, pid: number, type: 'standard' | 'setns'): void {
  using socket = connectUnix(socketPath);
  using pidfd = openPidfd(pid);
  if (pidfd !== undefined) sendFds(socket.number, Buffer.from(type), [pidfd.number]);
}

/** Limits of a child in a user namespace, which may not raise them itself. */
export function setLimits(pid: number, { process, openFiles }: IdentityPlan): void {
  const rlimits = process.rlimits ?? [];
  if (!rlimits.some(({ type }) => type === 'RLIMIT_NOFILE')) {
    setResourceLimit(pid, 'RLIMIT_NOFILE', openFiles);
  }
  for (const { type, soft, hard } of rlimits) {
    setResourceLimit(pid, type as ResourceLimit, { soft, hard });
  }
}
