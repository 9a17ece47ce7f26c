import { mkdirSync, rmSync } from 'node:fs';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import { TsError } from '../errors/index.ts';
import { makeFifo } from '../linux/fifo.ts';
import type { Container } from './container.ts';
import type { CriConfig } from './cri-config.ts';
import type { Sandbox } from './sandbox.ts';

/** Standard streams of a container, in the words of the task API. */
export interface ContainerStreams {
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly terminal: boolean;
}

/** Path of a container's log; '' for one without. Throws InvalidArgument for a path that leaves the pod's directory. */
export function logPathOf(logDirectory: string, logPath: string): string {
  if (logDirectory === '' || logPath === '') return '';
  const path = join(logDirectory, logPath);
  const base = normalize(`${logDirectory}/`);
  if (isAbsolute(logPath) || !path.startsWith(base)) {
    throw new TsError(
      'InvalidArgument',
      `log_path ${JSON.stringify(logPath)}: leads out of ${logDirectory}`,
    );
  }
  return path;
}

/** Path of the FIFO that a container reads as its standard input. */
export function stdinPath(settings: Pick<CriConfig, 'stateDir'>, id: string): string {
  return join(settings.stateDir, 'containers', id, 'stdin');
}

/**
 * Makes what a container's streams need and returns their addresses. The shim writes the log itself, so that
 * no line is lost while the daemon is away.
 */
export function openStreams(
  container: Container,
  sandbox: Sandbox,
  settings: Pick<CriConfig, 'stateDir' | 'maxContainerLogLineBytes' | 'logFormat'>,
): ContainerStreams {
  const { config, state, id } = container;
  let stdin = '';
  if (config.stdin) {
    stdin = stdinPath(settings, id);
    mkdirSync(dirname(stdin), { recursive: true, mode: 0o700 });
    rmSync(stdin, { force: true });
    makeFifo(stdin, 0o600);
  }
  const log = (stream: 'stdout' | 'stderr'): string =>
    logAddress(stream, container, sandbox, settings);
  if (state.logPath !== '') mkdirSync(dirname(state.logPath), { recursive: true, mode: 0o755 });
  return {
    stdin,
    stdout: log('stdout'),
    stderr: config.tty ? '' : log('stderr'),
    terminal: config.tty,
  };
}

function logAddress(
  stream: 'stdout' | 'stderr',
  { state, config }: Container,
  sandbox: Sandbox,
  {
    maxContainerLogLineBytes,
    logFormat,
  }: Pick<CriConfig, 'maxContainerLogLineBytes' | 'logFormat'>,
): string {
  const path = state.logPath === '' ? '/dev/null' : state.logPath;
  const query = new URLSearchParams({
    stream,
    'max-line': String(Math.max(0, maxContainerLogLineBytes)),
  });
  if (logFormat === 'json') {
    query.set('format', 'json');
    const { name = '', namespace = '' } = sandbox.config.metadata ?? {};
    query.append('label', `pod=${name}`);
    query.append('label', `namespace=${namespace}`);
    query.append('label', `container=${config.metadata?.name ?? ''}`);
  }
  return `cri://${path}?${query}`;
}

/** Removes what {@link openStreams} made. */
export function removeStreams(settings: Pick<CriConfig, 'stateDir'>, id: string): void {
  rmSync(join(settings.stateDir, 'containers', id), { recursive: true, force: true });
}
