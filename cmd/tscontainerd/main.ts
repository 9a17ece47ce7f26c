import {
  type ConfigFile,
  defaultConfig,
  type LoadedConfig,
  levelOf,
  loadConfig,
  migrateConfig,
  printConfig,
  withFlags,
} from '../../internal/config/index.ts';
import { TsError } from '../../internal/errors/index.ts';
import { unblockSignal } from '../../internal/linux/signal-mask.ts';
import { createLogger } from '../../internal/log/index.ts';
import { Daemon } from '../../internal/server/daemon.ts';
import { applyToProcess } from '../../internal/server/process-settings.ts';
import { publishEvent } from '../../internal/server/publish.ts';
import { notifyServiceManager } from '../../internal/server/readiness.ts';
import { widenThreadPool } from '../../internal/server/thread-pool.ts';
import { REVISION, VERSION } from '../../internal/server/version.ts';
import { type Arguments, parseArguments, USAGE } from './arguments.ts';

const DEFAULT_CONFIG_PATH = '/etc/containerd/config.toml';

async function main(): Promise<void> {
  const given = parseArguments(process.argv.slice(2));
  switch (given.command) {
    case 'help':
      console.log(USAGE);
      return;
    case 'version':
      console.log(`tscontainerd ${VERSION} ${REVISION}`.trimEnd());
      return;
    case 'config default':
      process.stdout.write(printConfig(defaultConfig()));
      return;
    case 'config dump':
      return print(load(given));
    case 'config migrate':
      return print(migrateConfig(given.configPath ?? DEFAULT_CONFIG_PATH));
    case 'publish': {
      const { address } = load(given).config.grpc;
      await publishEvent(address, given.namespace, given.topic, process.stdin);
      return;
    }
    case 'serve': {
      const { config, warnings } = load(given);
      await serve(config, warnings);
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

function print({ config, warnings }: LoadedConfig): void {
  for (const warning of warnings) console.error(`tscontainerd: warning: ${warning}`);
  process.stdout.write(printConfig(config));
}

async function serve(config: ConfigFile, warnings: readonly string[]): Promise<void> {
  await widenThreadPool();
  const log = createLogger({ name: 'tscontainerd', level: levelOf(config.debug.level) });
  for (const warning of warnings) log.warn(warning);
  applyToProcess(config, log);
  const die = (error: unknown): void => {
    log.fatal({ error }, 'internal error: uncaught');
    process.exit(1);
  };
  process.on('uncaughtException', die);
  const daemon = await Daemon.start(config, log);
  let isStopping = false;
  const stop = (signal: string): void => {
    if (isStopping) process.exit(1); // asked twice: whoever asks does not want to wait
    isStopping = true;
    log.info({ signal }, 'stopping');
    notifyServiceManager('STOPPING=1');
    daemon.close().then(() => process.exit(0), die);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('SIGUSR1', () => log.info({ waits: daemon.waits() }, 'waits'));
  unblockSignal('SIGUSR1');
  process.on('SIGHUP', () => undefined); // a closing terminal must not end the containers' daemon
  notifyServiceManager('READY=1');
  log.info(
    { address: config.grpc.address, root: config.root, startupMs: Math.round(performance.now()) },
    'serving',
  );
}

main().catch((error: unknown) => {
  console.error(`tscontainerd: ${TsError.from(error).text}`);
  process.exit(1);
});
