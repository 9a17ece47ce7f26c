import { readFileSync } from 'node:fs';
import { isErrno } from '../errors/index.ts';
import { CONFIG_COPY } from './container-state.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { statePath } from './state-directory.ts';

/** The copy of config.json in the state directory; undefined if there is none. */
export function readConfigCopy(options: RuntimeOptions, id: string): Buffer | undefined {
  try {
    return readFileSync(statePath(options.root, id, CONFIG_COPY));
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT')) return undefined;
    throw thrown;
  }
}
