import type { ContainerConfig } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';

/** What an image's configuration says about the process (image-spec config.md). */
export interface ImageProcess {
  readonly user: string;
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly workingDir: string;
  readonly stopSignal: string;
  readonly volumes: readonly string[];
}

const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * argv, in Kubernetes' sense: a command replaces the image's entry point and its default arguments,
 * arguments alone replace the default arguments. Throws InvalidArgument when nothing is left.
 */
export function processArgs(
  config: Pick<ContainerConfig, 'command' | 'args'>,
  image: Pick<ImageProcess, 'entrypoint' | 'cmd'>,
): string[] {
  if (config.command.length > 0) return [...config.command, ...config.args];
  const isEntrypointEmpty = image.entrypoint.length === 1 && image.entrypoint[0] === '';
  const entrypoint = isEntrypointEmpty ? [] : image.entrypoint;
  const args = [...entrypoint, ...(config.args.length > 0 ? config.args : image.cmd)];
  if (args.length > 0) return args;
  throw new TsError('InvalidArgument', 'no command specified', {
    advice: 'set `command` of the container: its image has neither an entry point nor a command',
  });
}

/** The environment: the image's, then what the container has, the last value of a name counting. */
export function processEnv(
  config: Pick<ContainerConfig, 'envs' | 'tty'>,
  imageEnv: readonly string[],
  hostname: string,
): string[] {
  const env = new Map<string, string>();
  const set = (entry: string): void => {
    const at = entry.indexOf('=');
    env.set(at < 0 ? entry : entry.slice(0, at), entry);
  };
  set(DEFAULT_PATH);
  for (const entry of imageEnv) set(entry);
  if (config.tty) set('TERM=xterm');
  if (hostname !== '') set(`HOSTNAME=${hostname}`);
  for (const { key, value } of config.envs) {
    refuseNul(`envs ${JSON.stringify(key)}`, key + value);
    set(`${key}=${value}`);
  }
  return [...env.values()];
}

/** Where the process starts. */
export function workingDirectory(config: Pick<ContainerConfig, 'workingDir'>, image: ImageProcess) {
  const path = config.workingDir || image.workingDir || '/';
  refuseNul('working_dir', path);
  return path;
}

/** A NUL ends a string in C: what comes after it would be cut off unseen. */
function refuseNul(what: string, text: string): void {
  if (!text.includes('\0')) return;
  throw new TsError('InvalidArgument', `${what}: holds a NUL character`);
}
