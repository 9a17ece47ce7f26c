import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { packAny, unpackAny } from '../../api/any.ts';
import { Controller } from '../../api/generated/containerd.services.sandbox.v1.ts';
import { Tasks } from '../../api/generated/containerd.services.tasks.v1.ts';
import { RuntimeInfo, RuntimeRequest } from '../../api/generated/containerd.types.ts';
import { durationMs } from '../../config/index.ts';
import { TsError } from '../../errors/index.ts';
import { CheckpointImages } from '../../images/checkpoint-images.ts';
import { grpcService } from '../../services/context.ts';
import { sandboxControllerService } from '../../services/sandbox-controller.ts';
import { tasksService } from '../../services/tasks.ts';
import { LocalTaskManager } from '../../tasks/local-task-manager.ts';
import { ShimSandboxes } from '../../tasks/shim-sandboxes.ts';
import { SpareShims } from '../../tasks/spare-shim.ts';
import { addContainerMetrics } from '../container-metrics.ts';
import type { Core } from '../core.ts';
import type { DaemonModule } from '../module.ts';
import { ttrpcAddress } from '../ttrpc-address.ts';

type TimeoutName = `shim.${'load' | 'cleanup' | 'shutdown'}` | 'metrics.shimstats' | 'task.state';

/** The tasks, which live in shims. */
export function openTasks(core: Core): DaemonModule {
  const { config, events, log } = core;
  const timeout = (name: TimeoutName): number => {
    return durationMs(config.timeouts[`io.containerd.timeout.${name}`]);
  };
  const daemon = {
    grpc: config.grpc.address,
    ttrpc: ttrpcAddress(config),
    program: process.execPath,
  };
  const keepsOne = config.plugins['io.containerd.runtime.v2.task'].spare_shim;
  const spares = new SpareShims(daemon, log, { keepsOne });
  const shims = {
    ...{ state: config.state, root: config.root, daemon, log, spares },
    isDebug: ['debug', 'trace'].includes(config.debug.level),
    timeouts: {
      loadMs: timeout('shim.load'),
      cleanupMs: timeout('shim.cleanup'),
      shutdownMs: timeout('shim.shutdown'),
    },
  };
  const sandboxes = new ShimSandboxes(shims);
  const manager = new LocalTaskManager({ ...shims, events, sandboxes });
  core.tasks = manager;
  const stateTimeoutMs = timeout('task.state');
  addContainerMetrics(core.metrics, {
    namespaces: core.namespaces,
    containers: core.containers,
    tasks: manager,
    timeoutMs: timeout('metrics.shimstats'),
    hasEach: !config.plugins['io.containerd.monitor.task.v1.cgroups'].no_prometheus,
  });
  const differ = core.differs.get('walking');
  if (differ === undefined) {
    throw new TsError('Internal', 'internal error: tasks opened before the differ');
  }
  // Of a daemon that was killed meanwhile.
  const checkpointDirectory = join(config.root, 'checkpoints');
  rmSync(checkpointDirectory, { recursive: true, force: true });
  const checkpoints = new CheckpointImages(differ, core.content, checkpointDirectory);
  const metadata = ['io.containerd.metadata.v1'];
  return {
    plugins: [
      {
        type: 'io.containerd.runtime.v2',
        id: 'task',
        requires: [...metadata, 'io.containerd.event.v1'],
        isPlatformSpecific: true,
        async info(request) {
          const asked = unpackAny(request, RuntimeRequest);
          if (asked === undefined) {
            throw new TsError('InvalidArgument', `request is no ${RuntimeRequest.typeName}`);
          }
          const info = await manager.runtimeInfo(asked.runtimePath, asked.options);
          return packAny(RuntimeInfo, info);
        },
      },
      { type: 'io.containerd.service.v1', id: 'tasks-service', requires: metadata },
      { type: 'io.containerd.grpc.v1', id: 'tasks', requires: ['io.containerd.service.v1'] },
      {
        type: 'io.containerd.sandbox.controller.v1',
        id: 'shim',
        requires: ['io.containerd.event.v1'],
      },
      {
        type: 'io.containerd.grpc.v1',
        id: 'sandbox-controllers',
        requires: ['io.containerd.sandbox.controller.v1', 'io.containerd.event.v1'],
      },
    ],
    services: [
      grpcService(Tasks, tasksService(core.containers, manager, { stateTimeoutMs, checkpoints })),
      grpcService(
        Controller,
        sandboxControllerService(new Map([['shim', sandboxes]]), core.events),
      ),
    ],
    async start() {
      await sandboxes.recover(); // first: tasks live in their shims
      await manager.recover();
    },
    waits: () => manager.waits(),
    async close() {
      spares.close();
      await manager.close();
      await sandboxes.close();
    },
  };
}
