/**
 * A logging program of `binary://PATH?…` (containerd's contract, cmd/containerd-shim-runc-v2/process
 * io.go): it reads stdout from descriptor 3 and stderr from 4, and closes 5 when it is ready. The
 * process writes to it directly; nothing passes through the shim.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { TsError } from '../errors/index.ts';
import { Pipe, readNow, setNonBlocking, waitReadable } from '../linux/index.ts';
import type { ChildRegistry } from './command.ts';
import type { StdioOwner } from './process-io.ts';
import type { StdioTarget } from './stdio-uri.ts';

const READY_MS = 10_000;
/** Time to write what it has after its input ended, and after SIGTERM. */
const FINISH_MS = 10_000;
const TERM_MS = 2_000;

export class Logger {
  readonly #child: ChildProcess;
  /** The writing ends, for the process. */
  readonly stdout: Pipe;
  readonly stderr: Pipe;

  private constructor(child: ChildProcess, stdout: Pipe, stderr: Pipe) {
    this.#child = child;
    this.stdout = stdout;
    this.stderr = stderr;
  }

  /** Starts a logger and waits until it is ready. Throws when it cannot run or ends before. */
  static async start(
    target: Extract<StdioTarget, { kind: 'binary' }>,
    owner: StdioOwner,
    children: ChildRegistry,
  ): Promise<Logger> {
    using ready = new Pipe();
    const stdout = new Pipe();
    const stderr = new Pipe();
    try {
      const fds = [stdout.readEnd, stderr.readEnd, ready.writeEnd].map((fd) => fd.number);
      const child = spawn(target.path, target.args, {
        env: { CONTAINER_ID: owner.containerId, CONTAINER_NAMESPACE: owner.namespace },
        stdio: ['ignore', 'ignore', 'ignore', ...fds],
      });
      children.add(child);
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', (cause) =>
          reject(TsError.from(cause, `execute logger ${target.path}`)),
        );
      });
      const logger = new Logger(child, stdout, stderr);
      for (const end of [stdout.readEnd, stderr.readEnd, ready.writeEnd]) end.close();
      try {
        await waitUntilReady(ready, target);
      } catch (thrown) {
        child.kill('SIGKILL');
        throw thrown;
      }
      return logger;
    } catch (thrown) {
      stdout[Symbol.dispose]();
      stderr[Symbol.dispose]();
      throw thrown;
    }
  }

  /** Ends its input, lets it finish, and makes sure that it is gone. */
  async close(): Promise<void> {
    this.stdout[Symbol.dispose]();
    this.stderr[Symbol.dispose]();
    if (await this.#ended(FINISH_MS)) return;
    this.#child.kill('SIGTERM');
    if (await this.#ended(TERM_MS)) return;
    this.#child.kill('SIGKILL');
  }

  async #ended(withinMs: number): Promise<boolean> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return true;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        child.off('exit', onExit);
        resolve(false);
      }, withinMs);
      const onExit = (): void => {
        clearTimeout(timer);
        resolve(true);
      };
      child.once('exit', onExit);
    });
  }
}

async function waitUntilReady(
  ready: Pipe,
  target: Extract<StdioTarget, { kind: 'binary' }>,
): Promise<void> {
  setNonBlocking(ready.readEnd.number);
  try {
    await waitReadable(ready.readEnd.number, AbortSignal.timeout(READY_MS));
  } catch (cause) {
    const text = `start logger ${target.path}: not ready after ${READY_MS / 1000} s`;
    throw new TsError('DeadlineExceeded', text, { cause });
  }
  const result = readNow(ready.readEnd.number, Buffer.alloc(1));
  const hasByte = 'bytes' in result && result.bytes === 1;
  if (target.wantsReadyByte && !hasByte) {
    throw new TsError('Unknown', `start logger ${target.path}: ended before it was ready`);
  }
}
