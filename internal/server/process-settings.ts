import { mkdirSync, writeFileSync } from 'node:fs';
import type { ConfigFile } from '../config/index.ts';
import { TsError } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';

/**
 * What the configuration says about this process: where temporary files go, its own and those of
 * the programs that it starts, and how ready the kernel is to end it when memory is short.
 */
export function applyToProcess({ temp, oom_score }: ConfigFile, log: Logger): void {
  if (temp !== '') {
    makeTemporaryDirectory(temp);
    process.env['TMPDIR'] = temp;
  }
  if (oom_score === 0) return; // not configured: what the service manager set stays
  try {
    writeFileSync('/proc/self/oom_score_adj', String(oom_score));
  } catch (error) {
    // Lowering it takes CAP_SYS_RESOURCE. A daemon that may be ended is better than none.
    log.error({ error: TsError.from(error, `set oom_score to ${oom_score}`) }, 'oom_score');
  }
}

function makeTemporaryDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw TsError.from(error, `make directory ${path}`);
  }
}
