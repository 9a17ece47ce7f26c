import type { OpenModule } from '../module.ts';
import { openCri } from './cri.ts';
import { openMetadata } from './metadata.ts';
import { openOpt } from './opt.ts';
import { openSnapshots } from './snapshots.ts';
import { openTasks } from './tasks.ts';
import { openTransfer } from './transfer.ts';

/**
 * The modules of the daemon in the order in which they are opened; a module sees what earlier ones
 * put into the core.
 */
export const MODULES: readonly OpenModule[] = [
  openOpt,
  openMetadata,
  openSnapshots,
  openTransfer,
  openTasks,
  openCri,
];
