import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { AnyMessage } from '../api/any.ts';
import { TsError } from '../errors/index.ts';
import { formatJson, type Process, parseSpec } from '../oci/index.ts';
import type { Container } from './container.ts';
import type { CriConfig } from './cri-config.ts';
import type { DaemonServices } from './daemon-services.ts';
import { OutputReader } from './output-reader.ts';
import { unlessGone } from './undo.ts';
import { whileRunning } from './while-running.ts';

const PROCESS_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/Process';
/** What a probe may print; a kubelet shows far less (CVE-2022-31030: `yes` as a probe). */
const OUTPUT_LIMIT_BYTES = 16 * 1024 * 1024;
const SIGKILL = 9;
/** How long output is waited for after the process has ended: a child of it may hold the pipe open for ever (GHSA-7jxh-36q5-gcqv). */
const DRAIN_MS = 500;
/** How long a killed process may take. */
const KILL_MS = 10_000;

export interface ExecOutput {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly exitCode: number;
}

/** The process of an exec: as the container's own, with other arguments. */
export async function execProcess(
  services: Pick<DaemonServices, 'containers'>,
  id: string,
  args: readonly string[],
  terminal: boolean,
): Promise<AnyMessage> {
  const { container } = await services.containers.get({ id });
  if (container?.spec === undefined) throw new TsError('NotFound', `spec of container ${id}`);
  const { process } = parseSpec(container.spec.value, `spec of container ${id}`);
  const { consoleSize: _size, ...rest } = process;
  const exec: Process = {
    ...rest,
    terminal,
    args,
    env: terminal ? [...(process.env ?? []), 'TERM=xterm'] : (process.env ?? []),
  };
  return { typeUrl: PROCESS_TYPE, value: Buffer.from(formatJson(exec)) };
}

/**
 * Runs a command in a container and returns what it printed. Throws DeadlineExceeded when it has not ended
 * within `timeoutMs` (0: no limit); it is killed then, by our shim with what it has started. Throws FailedPrecondition when
 * the container does not run, or ends before the command.
 */
export async function execSync(
  services: DaemonServices,
  settings: Pick<CriConfig, 'stateDir' | 'drainExecSyncIoTimeoutMs'>,
  container: Container,
  args: readonly string[],
  timeoutMs: number,
): Promise<ExecOutput> {
  if (args.length === 0) throw new TsError('InvalidArgument', 'cmd: empty');
  return await whileRunning(container, () =>
    runExec(services, settings, container, args, timeoutMs),
  );
}

async function runExec(
  services: DaemonServices,
  settings: Pick<CriConfig, 'stateDir' | 'drainExecSyncIoTimeoutMs'>,
  container: Container,
  args: readonly string[],
  timeoutMs: number,
): Promise<ExecOutput> {
  const spec = await execProcess(services, container.id, args, false);
  const execId = randomBytes(16).toString('hex');
  const directory = join(settings.stateDir, 'exec');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  using stdout = new OutputReader(join(directory, `${execId}-stdout`), OUTPUT_LIMIT_BYTES);
  using stderr = new OutputReader(join(directory, `${execId}-stderr`), OUTPUT_LIMIT_BYTES);
  const id = { containerId: container.id, execId };
  await services.tasks.exec({ ...id, spec, stdout: stdout.path, stderr: stderr.path });
  try {
    const exited = services.tasks.wait(id);
    exited.catch(() => undefined); // a start that fails is told by the start
    await services.tasks.start(id);
    const exit = await within(exited, timeoutMs);
    if (exit === undefined) {
      await unlessGone(
        services.tasks.kill({ ...id, signal: SIGKILL, all: true }).catch(() => undefined),
      );
      await within(exited, KILL_MS);
      throw new TsError(
        'DeadlineExceeded',
        `exec ${JSON.stringify(args[0])} in container ${container.id}: timeout of ${timeoutMs / 1000} s exceeded`,
      );
    }
    await within(
      Promise.all([stdout.ended, stderr.ended]),
      settings.drainExecSyncIoTimeoutMs || DRAIN_MS,
    );
    return { stdout: stdout.output, stderr: stderr.output, exitCode: exit.exitStatus };
  } finally {
    await unlessGone(services.tasks.deleteProcess(id));
  }
}

/** What a promise gives, or undefined when it takes longer; 0 is no limit. */
async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T | undefined> {
  if (timeoutMs === 0) return await promise;
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), timeoutMs);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
