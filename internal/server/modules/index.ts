import type { OpenModule } from '../module.ts';
import { openMetadata } from './metadata.ts';

/** The modules of the daemon in the order in which they are opened. */
export const MODULES: readonly OpenModule[] = [openMetadata];
