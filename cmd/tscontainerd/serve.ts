import { levelOf } from '../../internal/config/index.ts';
import { unblockSignal } from '../../internal/linux/signal-mask.ts';
import { createLogger } from '../../internal/log/index.ts';
import { Daemon } from '../../internal/server/daemon.ts';
import { applyToProcess } from '../../internal/server/process-settings.ts';
import { notifyServiceManager } from '../../internal/server/readiness.ts';
import { widenThreadPool } from '../../internal/server/thread-pool.ts';
import type { Arguments } from './arguments.ts';
import { readConfig } from './configuration.ts';
import { endWith } from './failure.ts';

/**
 * Runs the daemon until a signal ends it. In the built program it shares no code with what calls it (build/binaries.ts):
 * only plain values go in, and no error comes out.
 */
export async function serve(given: Arguments): Promise<void> {
  try {
    await start(given);
  } catch (error) {
    endWith(error);
  }
}

async function start(given: Arguments): Promise<void> {
  const { config, warnings } = readConfig(given);
  await widenThreadPool();
  const log = createLogger({
    name: 'tscontainerd',
    level: levelOf(config.debug.level),
    format: config.debug.format === 'text' ? 'text' : 'json',
  });
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
