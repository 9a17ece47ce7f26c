import { join } from 'node:path';
import { Containers } from '../../api/generated/containerd.services.containers.v1.ts';
import { Content } from '../../api/generated/containerd.services.content.v1.ts';
import { Events } from '../../api/generated/containerd.services.events.v1.ts';
import { Images } from '../../api/generated/containerd.services.images.v1.ts';
import { Leases } from '../../api/generated/containerd.services.leases.v1.ts';
import { Namespaces } from '../../api/generated/containerd.services.namespaces.v1.ts';
import { Store as SandboxStore } from '../../api/generated/containerd.services.sandbox.v1.ts';
import { SqliteSandboxStore } from '../../metadata/sqlite-sandbox-store.ts';
import { containersService } from '../../services/containers.ts';
import { contentService } from '../../services/content.ts';
import { grpcService } from '../../services/context.ts';
import { eventsService } from '../../services/events.ts';
import { imagesService } from '../../services/images.ts';
import { leasesService } from '../../services/leases.ts';
import { namespacesService } from '../../services/namespaces.ts';
import { sandboxStoreService } from '../../services/sandbox-store.ts';
import { CONTENT_DIRECTORY, type Core, isContentShared } from '../core.ts';
import type { DaemonModule } from '../module.ts';

/** Namespaces, containers, content, images, leases and events. */
export function openMetadata(core: Core): DaemonModule {
  const metadata = ['io.containerd.metadata.v1'];
  const contentRoot = join(core.config.root, CONTENT_DIRECTORY);
  return {
    plugins: [
      {
        type: 'io.containerd.content.v1',
        id: 'content',
        exports: new Map([['root', contentRoot]]),
      },
      { type: 'io.containerd.event.v1', id: 'exchange' },
      {
        type: 'io.containerd.metadata.v1',
        id: 'bolt', // clients look for containerd's name of it
        requires: ['io.containerd.content.v1', 'io.containerd.snapshotter.v1'],
        capabilities: [isContentShared(core.config) ? 'shared' : 'isolated'],
        exports: new Map([['path', join(core.config.root, 'metadata.db')]]),
      },
      { type: 'io.containerd.gc.v1', id: 'scheduler', requires: metadata },
      { type: 'io.containerd.lease.v1', id: 'manager', requires: metadata },
      ...['containers', 'content', 'images', 'leases', 'namespaces', 'events', 'sandboxes'].map(
        (id) => ({
          type: 'io.containerd.grpc.v1',
          id,
          requires: metadata,
        }),
      ),
    ],
    services: [
      grpcService(Namespaces, namespacesService(core.namespaces)),
      grpcService(
        Containers,
        containersService(core.containers, (runtime, options) =>
          core.tasks?.expect(runtime, options),
        ),
      ),
      grpcService(Content, contentService(core.content)),
      grpcService(Images, imagesService(core.images)),
      grpcService(Leases, leasesService(core.leases)),
      grpcService(SandboxStore, sandboxStoreService(new SqliteSandboxStore(core.database))),
      grpcService(Events, eventsService(core.events)),
    ],
    async start() {
      core.gc.start();
    },
    waits: () => core.content.waits(),
    close: () => core.gc.close(),
  };
}
