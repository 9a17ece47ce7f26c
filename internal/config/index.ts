/** The configuration file: reading, checking, defaults, older versions, printing. */

export { type ConfigFile, LOG_LEVELS, type LogLevel } from './daemon-schema.ts';
export { durationMs } from './duration.ts';
export { type Flags, withFlags } from './flags.ts';
export { defaultConfig, type LoadedConfig, loadConfig, migrateConfig } from './load.ts';
export { levelOf } from './log-level.ts';
export { printConfig } from './print.ts';
