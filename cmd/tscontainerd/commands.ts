import { defaultConfig, migrateConfig, printConfig } from '../../internal/config/index.ts';
import type { Arguments } from './arguments.ts';
import { DEFAULT_CONFIG_PATH, loadAndWarn, readConfig, warn } from './configuration.ts';

/** Does what a command asks for that ends by itself. What only one command needs is loaded for that command. */
export async function runCommand(
  given: Arguments,
  command: Exclude<Arguments['command'], 'serve' | 'help' | 'version'>,
): Promise<void> {
  switch (command) {
    case 'config default':
      process.stdout.write(printConfig(defaultConfig()));
      return;
    case 'config dump':
      process.stdout.write(printConfig(loadAndWarn(given)));
      return;
    case 'config migrate': {
      const { config, warnings } = migrateConfig(given.configPath ?? DEFAULT_CONFIG_PATH);
      warn(warnings);
      process.stdout.write(printConfig(config));
      return;
    }
    case 'config explain': {
      const { explainConfig } = await import('../../internal/server/config-explain.ts');
      process.stdout.write(await explainConfig(loadAndWarn(given), given.image));
      return;
    }
    case 'fsck': {
      const { checkRoot, reportText } = await import('../../internal/server/fsck.ts');
      const report = await checkRoot(readConfig(given).config.root, { isDeep: given.isDeep });
      process.stdout.write(reportText(report));
      process.exitCode = report.damage.length === 0 ? 0 : 1;
      return;
    }
    case 'doctor disk': {
      const { diskUsageText, readDiskUsage } = await import('../../internal/server/disk-usage.ts');
      process.stdout.write(diskUsageText(readDiskUsage(readConfig(given).config.root)));
      return;
    }
    case 'publish': {
      const { publishEvent } = await import('../../internal/server/publish.ts');
      const { address } = readConfig(given).config.grpc;
      return await publishEvent(address, given.namespace, given.topic, process.stdin);
    }
  }
}
