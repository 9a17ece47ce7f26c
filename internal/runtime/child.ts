/** What the runtime does to a child from outside. */
import { TsError } from '../errors/index.ts';
import {
  adopt,
  connectUnix,
  type ExitedChild,
  exitOf,
  kill,
  type Operation,
  openPidfd,
  type ResourceLimit,
  sendFds,
  setResourceLimit,
} from '../linux/index.ts';
import type { IdentityPlan } from './identity-steps.ts';

const SIGKILL = 9;

/** How long a killed child may take to die. One that waits for a file system may take for ever. */
const DEATH_DEADLINE_MS = 10_000;

/** A child whose pid cannot become another's for as long as the operation lasts. */
export class OwnChild {
  readonly pid: number;
  #isThere: boolean;

  private constructor(pid: number, isThere: boolean) {
    this.pid = pid;
    this.#isThere = isThere;
  }

  /** To be called in the turn in which the pid becomes known. */
  static *adopt(pid: number): Operation<OwnChild> {
    return new OwnChild(pid, yield* adopt(pid));
  }

  /** Whether it has not been reaped: it runs, or its exit can be had. */
  get isThere(): boolean {
    return this.#isThere;
  }

  /** Waits for its end and reaps it. Undefined: it was too late, or somebody else has reaped it. */
  *exit(timeoutMs?: number): Operation<ExitedChild | undefined> {
    if (!this.#isThere) return undefined;
    const exit = yield* exitOf(this.pid, timeoutMs);
    if (exit !== undefined) this.#isThere = false;
    return exit;
  }

  kill(): void {
    if (this.#isThere) kill(this.pid, SIGKILL);
  }

  /** Makes sure that it is gone: nobody shall see it. */
  *end(): Operation<void> {
    this.kill();
    const isGone = !this.#isThere || (yield* this.exit(DEATH_DEADLINE_MS)) !== undefined;
    if (isGone) return;
    throw new TsError('DeadlineExceeded', `process ${this.pid} does not die of SIGKILL`, {
      code: 'TS_INIT_UNKILLABLE',
      advice: `look at /proc/${this.pid}/stack for what it waits for`,
    });
  }
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
