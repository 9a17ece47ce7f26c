import {
  defaultConfig,
  type LoadedConfig,
  loadConfig,
  migrateConfig,
  printConfig,
  withFlags,
} from '../../internal/config/index.ts';
import { type Arguments, parseArguments, USAGE } from './arguments.ts';
import { versionText } from './version.ts';

const DEFAULT_CONFIG_PATH = '/etc/containerd/config.toml';

/** Does what the command line asks for. What only one command needs is loaded for that command. */
export async function run(args: readonly string[]): Promise<void> {
  const given = parseArguments(args);
  switch (given.command) {
    case 'help':
      console.log(USAGE);
      return;
    case 'version':
      console.log(versionText());
      return;
    case 'config default':
      process.stdout.write(printConfig(defaultConfig()));
      return;
    case 'config dump':
      return print(load(given));
    case 'config migrate':
      return print(migrateConfig(given.configPath ?? DEFAULT_CONFIG_PATH));
    case 'config explain': {
      const { explainConfig } = await import('../../internal/server/config-explain.ts');
      process.stdout.write(await explainConfig(loadAndWarn(given), given.image));
      return;
    }
    case 'fsck': {
      const { checkRoot, reportText } = await import('../../internal/server/fsck.ts');
      const report = await checkRoot(load(given).config.root, { isDeep: given.isDeep });
      process.stdout.write(reportText(report));
      process.exitCode = report.damage.length === 0 ? 0 : 1;
      return;
    }
    case 'publish': {
      const { publishEvent } = await import('../../internal/server/publish.ts');
      const { address } = load(given).config.grpc;
      return await publishEvent(address, given.namespace, given.topic, process.stdin);
    }
    case 'serve': {
      const { serve } = await import('./serve.ts');
      const { config, warnings } = load(given);
      return await serve(config, warnings);
    }
  }
}

function load({ configPath, flags }: Arguments): LoadedConfig {
  const { config, warnings } = loadConfig(
    configPath ?? DEFAULT_CONFIG_PATH,
    configPath !== undefined,
  );
  return { config: withFlags(config, flags), warnings };
}

function loadAndWarn(given: Arguments): LoadedConfig['config'] {
  const { config, warnings } = load(given);
  for (const warning of warnings) console.error(`tscontainerd: warning: ${warning}`);
  return config;
}

function print({ config, warnings }: LoadedConfig): void {
  for (const warning of warnings) console.error(`tscontainerd: warning: ${warning}`);
  process.stdout.write(printConfig(config));
}
