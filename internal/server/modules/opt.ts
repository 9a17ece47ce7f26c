import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { TsError } from '../../errors/index.ts';
import type { Core } from '../core.ts';
import type { DaemonModule } from '../module.ts';

/** The places of the machine's own daemon (containerd's defaults). */
const MACHINE = { root: '/var/lib/containerd', path: '/opt/containerd' };

const TYPE = 'io.containerd.internal.v1';

/**
 * The directory that `ctr install` puts programs of images into: clients find it by the plugin's export, and
 * the daemon looks for shims in its `bin` first, as containerd does (containerd docs/managed-opt.md). It can be
 * left out by `disabled_plugins`.
 */
export function openOpt({ config }: Core): DaemonModule {
  if (config.disabled_plugins.includes(`${TYPE}.opt`)) return { plugins: [], services: [] };
  const { path } = config.plugins[`${TYPE}.opt`];
  const PATH = process.env['PATH'] ?? '';
  process.env['PATH'] = PATH === '' ? join(path, 'bin') : `${join(path, 'bin')}:${PATH}`;
  const plugin = { type: TYPE, id: 'opt', exports: new Map([['path', path]]) };
  // A daemon with another root, beside the machine's own, does not touch the machine's directory unasked.
  if (path === MACHINE.path && config.root !== MACHINE.root) {
    return { plugins: [plugin], services: [] };
  }
  try {
    for (const name of ['bin', 'lib'])
      mkdirSync(join(path, name), { recursive: true, mode: 0o711 });
    return { plugins: [plugin], services: [] };
  } catch (thrown) {
    // A machine whose /opt is read-only needs none.
    const initError = TsError.from(thrown, `make directory ${path}`);
    return { plugins: [{ ...plugin, initError }], services: [] };
  }
}
