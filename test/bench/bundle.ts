// The bundle that the runtimes under measurement get: a static busybox and the default configuration.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { defaultSpec } from '../../internal/oci/index.ts';
import { formatJson } from '../../internal/oci/json.ts';
import { findStaticBusybox, hostRootfs, writeRootfs } from '../fixtures/rootfs.ts';
import { peer } from '../peers/index.ts';

/** Makes the bundle directory `bundle`, whose process is `args`. */
export function makeBundle(bundle: string, args: readonly string[]): void {
  const rootfs = join(bundle, 'rootfs');
  mkdirSync(rootfs, { recursive: true });
  const busybox = peer('busybox');
  const program = busybox.skip === false ? busybox.path : findStaticBusybox();
  writeRootfs(rootfs, hostRootfs(program).entries);
  const spec = defaultSpec(existsSync('/sys/fs/cgroup/cgroup.controllers'));
  const process = { ...spec.process, terminal: false, args: [...args], rlimits: [] };
  writeFileSync(join(bundle, 'config.json'), formatJson({ ...spec, process }));
}
