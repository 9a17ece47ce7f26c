import { parseArgs } from 'node:util';
import { TsError } from '../../internal/errors/index.ts';
import { createLogger } from '../../internal/log/index.ts';
import { type Config, defaultConfig } from '../../internal/server/config.ts';
import { Daemon } from '../../internal/server/daemon.ts';
import { REVISION, VERSION } from '../../internal/server/version.ts';

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      address: { type: 'string', short: 'a' },
      root: { type: 'string' },
      state: { type: 'string' },
      'log-level': { type: 'string', short: 'l' },
      version: { type: 'boolean', short: 'v' },
    },
  });
  if (values.version === true) {
    console.log(`tscontainerd ${VERSION} ${REVISION}`.trimEnd());
    return;
  }
  const defaults = defaultConfig();
  const address = values.address ?? defaults.grpc.address;
  const config: Config = {
    ...defaults,
    root: values.root ?? defaults.root,
    state: values.state ?? defaults.state,
    grpc: { ...defaults.grpc, address },
    ttrpc: { ...defaults.ttrpc, address: `${address}.ttrpc` },
    debug: { level: values['log-level'] ?? defaults.debug.level },
  };
  const log = createLogger({ name: 'tscontainerd', level: config.debug.level });
  const daemon = await Daemon.start(config, log);
  log.info({ address }, 'serving');
  const stop = (signal: string): void => {
    log.info({ signal }, 'stopping');
    void daemon.close().then(() => process.exit(0));
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

main().catch((error: unknown) => {
  console.error(`tscontainerd: ${TsError.from(error).text}`);
  process.exit(1);
});
