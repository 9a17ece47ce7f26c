import { CONFIG_V3, type ConfigFile } from './daemon-schema.ts';
import { printToml } from './toml-printer.ts';

/**
 * A configuration as a file that gives the same configuration. What only other containerds have is
 * left out, unless it was changed.
 */
export function printConfig(config: ConfigFile): string {
  return printToml(config, CONFIG_V3);
}
