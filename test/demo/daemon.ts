// Starts and stops a daemon on private paths. Ours by default; the original takes the same options, so that the same
// demonstration runs with it, which shows that it shows nothing but containerd's API.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Version } from '../../internal/api/generated/containerd.services.version.v1.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';

/** Which programs to demonstrate. */
export interface Programs {
  /** The daemon's executable; shim and runtime are looked up beside it and on PATH. */
  readonly daemon: string;
  /** The runtime's name in the API: `io.containerd.tsrunc.v2`. */
  readonly runtime: string;
  /** The runtime's executable, when it is not the one that the shim takes by itself. */
  readonly runtimeBinary?: string | undefined;
  /** Environment of the daemon, and by inheritance of shim and runtime. */
  readonly env: NodeJS.ProcessEnv;
}

/** A daemon that answers. */
export interface RunningDaemon {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly socket: string;
  /** What it says of itself. */
  readonly version: string;
}

const START_TIMEOUT_MS = 20_000;

/**
 * Starts the daemon with everything below `workspace` and waits until it answers. Throws an Error when it ends or stays
 * silent; `daemonLog` tells why.
 */
export async function startDaemon(programs: Programs, workspace: string): Promise<RunningDaemon> {
  const socket = join(workspace, 'daemon.sock');
  const logFile = join(workspace, 'daemon.log');
  const args = ['--address', socket, '--log-level', 'warn'];
  args.push('--root', join(workspace, 'root'), '--state', join(workspace, 'state'));
  args.push('--config', configFile(programs, workspace));
  const log = openSync(logFile, 'a');
  const child = spawn(programs.daemon, args, {
    // A group of its own: Ctrl-C in the terminal reaches only this process, which then cleans up in order.
    detached: true,
    stdio: ['ignore', log, log],
    env: { ...programs.env, PATH: `${dirname(programs.daemon)}:${programs.env['PATH'] ?? ''}` },
  });
  closeSync(log);
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(`ended with ${signal ?? `exit status ${code}`}`));
  });
  const answered = waitForVersion(socket);
  const outcome = await Promise.race([answered, ended.then((why) => new Error(why))]);
  if (outcome instanceof Error || child.pid === undefined) {
    const why = outcome instanceof Error ? outcome.message : 'no process';
    throw new Error(`start ${programs.daemon}: ${why}`);
  }
  return { process: child, pid: child.pid, socket, version: outcome };
}

/** The last lines of what the daemon has logged, for a person to read. */
export function daemonLog(workspace: string, lines: number): string {
  const path = join(workspace, 'daemon.log');
  if (!existsSync(path)) return 'The daemon has logged nothing.';
  const last = readFileSync(path, 'utf8').trim().split('\n').slice(-lines);
  return ['The last that the daemon has logged:', ...last].join('\n  ');
}

/** Sends the daemon a signal and waits for its end. */
export async function stopDaemon(
  daemon: RunningDaemon,
  signal: 'SIGKILL' | 'SIGTERM',
): Promise<void> {
  if (daemon.process.exitCode !== null || daemon.process.signalCode !== null) return;
  const ended = new Promise((resolve) => daemon.process.once('exit', resolve));
  daemon.process.kill(signal);
  await ended;
}

async function waitForVersion(socket: string): Promise<string | Error> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  let last = 'it did not answer';
  while (performance.now() < deadline) {
    const connection = new GrpcConnection(socket, 'default');
    try {
      const { version } = await connection.service(Version).version({}, { timeoutMs: 2_000 });
      return version;
    } catch (error) {
      last = error instanceof Error ? error.message : String(error);
    } finally {
      connection.close();
    }
    await delay(20);
  }
  return new Error(last);
}

/** A configuration of its own: the machine's must not play a part. */
function configFile(programs: Programs, workspace: string): string {
  const path = join(workspace, 'config.toml');
  const lines = ['version = 2'];
  if (programs.daemon.endsWith('/containerd')) {
    // Plugins of the original that would touch the machine outside of the workspace.
    const disabled = ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images'];
    disabled.push('io.containerd.cri.v1.runtime', 'io.containerd.nri.v1.nri');
    disabled.push('io.containerd.internal.v1.opt');
    lines.push(`disabled_plugins = ${JSON.stringify(disabled)}`);
  }
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}
