import { readFileSync, realpathSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { errnoNameOf, TsError } from '../errors/index.ts';
import { type Process, parseSpec, type Spec } from '../oci/index.ts';

/** A bundle whose config.json was read and checked. */
export interface Bundle {
  /** Absolute path of its directory. */
  readonly directory: string;
  readonly spec: Spec;
  /** Never absent where a container is to be made. */
  readonly process: Process;
  /** Absolute, without symlinks. */
  readonly rootfs: string;
  /** config.json as it was. */
  readonly config: Buffer;
}

/**
 * Reads a bundle. Throws NotFound if there is no config.json or rootfs, InvalidArgument that names
 * the property for a config.json that is wrong.
 */
export function loadBundle(directory: string): Bundle {
  const path = resolve(directory, 'config.json');
  let config: Buffer;
  try {
    config = readFileSync(path);
  } catch (thrown) {
    throw new TsError('NotFound', `read ${path}: ${errnoNameOf(thrown) ?? String(thrown)}`, {
      code: 'TS_BUNDLE_NO_CONFIG',
      cause: thrown,
      advice: 'make one with: tsrunc spec',
      fields: { path },
    });
  }
  const spec = parseSpec(config);
  const { process } = spec;
  if (process === undefined) {
    throw new TsError('InvalidArgument', 'config.json: process: is required', {
      code: 'TS_SPEC_INVALID',
      fields: { property: 'process' },
    });
  }
  const bundle = resolve(directory);
  return { directory: bundle, spec, process, rootfs: findRootfs(bundle, spec), config };
}

function findRootfs(bundle: string, spec: Spec): string {
  const path = resolve(bundle, spec.root.path);
  let problem: string;
  try {
    const rootfs = realpathSync(path);
    if (statSync(rootfs).isDirectory()) return rootfs;
    problem = 'ENOTDIR';
  } catch (thrown) {
    problem = errnoNameOf(thrown) ?? String(thrown);
  }
  throw new TsError('NotFound', `config.json: root.path: open ${path}: ${problem}`, {
    code: 'TS_ROOTFS_MISSING',
    fields: { property: 'root.path', path },
  });
}
