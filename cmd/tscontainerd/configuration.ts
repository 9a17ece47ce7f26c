import { type LoadedConfig, loadConfig, withFlags } from '../../internal/config/index.ts';
import type { Arguments } from './arguments.ts';

export const DEFAULT_CONFIG_PATH = '/etc/containerd/config.toml';

/** The configuration in effect: the file, and the flags of the command line over it. */
export function readConfig({ configPath, flags }: Arguments): LoadedConfig {
  const { config, warnings } = loadConfig(
    configPath ?? DEFAULT_CONFIG_PATH,
    configPath !== undefined,
  );
  return { config: withFlags(config, flags), warnings };
}

/** The same for a command that prints what is doubtful in the file. */
export function loadAndWarn(given: Arguments): LoadedConfig['config'] {
  const { config, warnings } = readConfig(given);
  warn(warnings);
  return config;
}

/** Prints what is doubtful in a configuration file. */
export function warn(warnings: readonly string[]): void {
  for (const warning of warnings) console.error(`tscontainerd: warning: ${warning}`);
}
