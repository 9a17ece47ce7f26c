import { join } from 'node:path';
import { Diff } from '../../api/generated/containerd.services.diff.v1.ts';
import { Mounts } from '../../api/generated/containerd.services.mounts.v1.ts';
import { Snapshots } from '../../api/generated/containerd.services.snapshots.v1.ts';
import type { ConfigFile } from '../../config/index.ts';
import { grpcService } from '../../services/context.ts';
import { diffService } from '../../services/diff.ts';
import { mountsService } from '../../services/mounts.ts';
import type { Plugin } from '../../services/plugin.ts';
import { snapshotsService } from '../../services/snapshots.ts';
import { LayerDiffer } from '../../snapshots/layer-differ.ts';
import { detectOverlayfsOptions } from '../../snapshots/overlayfs-driver.ts';
import { ProxyDriver } from '../../snapshots/proxy-driver.ts';
import { SnapshotIds } from '../../snapshots/snapshot-records.ts';
import { SnapshotStore } from '../../snapshots/snapshot-store.ts';
import { StreamProcessors } from '../../snapshots/stream-processors.ts';
import { sweepMounts } from '../../snapshots/temporary-mount.ts';
import { WorkerPool } from '../../snapshots/worker-pool.ts';
import type { Core } from '../core.ts';
import type { DaemonModule } from '../module.ts';
import { gauge } from '../process-metrics.ts';
import { openDrivers, SNAPSHOTTER } from './snapshot-drivers.ts';

/** The snapshotters that this machine can use, and what turns layers into snapshots. */
export async function openSnapshots(core: Core): Promise<DaemonModule> {
  const workers = new WorkerPool();
  const { mount_options } = core.config.plugins[`${SNAPSHOTTER}.overlayfs`];
  const overlayOptions = detectOverlayfsOptions(mount_options);
  const { drivers, obstacles } = await openDrivers(core, workers, overlayOptions);
  const ids = new SnapshotIds(core.database);
  const stores = drivers.map(
    (driver) => new SnapshotStore(core.database, driver, core.events, ids, core.log),
  );
  const plugins: Plugin[] = drivers.map(({ name, root }) => ({
    type: SNAPSHOTTER,
    id: name,
    isPlatformSpecific: true,
    ...(name === 'overlayfs' ? { capabilities: ['remap-ids'] } : {}),
    exports: new Map([['root', root]]),
  }));
  for (const [id, initError] of obstacles) {
    plugins.push({ type: SNAPSHOTTER, id, isPlatformSpecific: true, initError });
  }
  for (const store of stores) {
    await store.open();
    core.snapshotters.set(store.name, store);
    core.gc.addCleaner(store);
  }
  const proxies = Object.entries(core.config.proxy_plugins).filter(
    ([, { type }]) => type === 'snapshot',
  );
  const proxyDrivers = proxies.map(([name, { address }]) => new ProxyDriver(name, address));
  for (const driver of proxyDrivers) {
    const store = new SnapshotStore(core.database, driver, core.events, ids, core.log);
    core.snapshotters.set(store.name, store);
    core.gc.addCleaner(store);
    stores.push(store);
  }
  for (const [id, { address, exports }] of proxies) {
    const shown = new Map([...Object.entries(exports), ['address', address]]);
    plugins.push({ type: SNAPSHOTTER, id, isPlatformSpecific: true, exports: shown });
  }
  const mountDirectory = join(core.config.state, 'mounts');
  await sweepMounts(mountDirectory);
  const differ = new LayerDiffer(core.content, workers, {
    hasUserXattrs: overlayOptions.hasUserXattrs,
    mountDirectory,
    fileDirectory: core.config.root,
    processors: streamProcessors(core.config),
  });
  core.differs.set('walking', differ);
  const metadata = ['io.containerd.metadata.v1'];
  core.metrics.collect(() => {
    const scopes = core.namespaces.list().map(({ name }) => ({ namespace: name }));
    const counts = scopes.flatMap((scope) => stores.map((store) => store.list(scope).length));
    const count = counts.reduce((sum, each) => sum + each, 0);
    return [gauge('containerd_snapshots_total', 'Number of snapshots in all namespaces.', count)];
  });
  return {
    plugins: [
      ...plugins,
      {
        type: 'io.containerd.differ.v1',
        id: 'walking',
        requires: metadata,
        isPlatformSpecific: true,
      },
      ...['snapshots', 'diff', 'mounts'].map((id) => ({
        type: 'io.containerd.grpc.v1',
        id,
        requires: ['io.containerd.service.v1'],
      })),
    ],
    services: [
      grpcService(Snapshots, snapshotsService(core.snapshotters)),
      grpcService(
        Diff,
        diffService(differ, core.config.plugins['io.containerd.service.v1.diff-service'].sync_fs),
      ),
      grpcService(Mounts, mountsService()),
    ],
    async close() {
      await Promise.all(stores.map((store) => store.close()));
      for (const driver of [...drivers, ...proxyDrivers]) driver.close?.();
      await workers.close();
    },
  };
}

function streamProcessors({ root, stream_processors, plugins }: ConfigFile): StreamProcessors {
  const { key_model } = plugins['io.containerd.cri.v1.images'].image_decryption;
  return new StreamProcessors({
    processors: Object.entries(stream_processors).map(([id, processor]) => ({ id, ...processor })),
    fileDirectory: root,
    hasNodeKeys: key_model === 'node',
  });
}
