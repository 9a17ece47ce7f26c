import { packAny, unpackAny } from '../../api/any.ts';
import { Tasks } from '../../api/generated/containerd.services.tasks.v1.ts';
import { RuntimeInfo, RuntimeRequest } from '../../api/generated/containerd.types.ts';
import { durationMs } from '../../config/index.ts';
import { TsError } from '../../errors/index.ts';
import { grpcService } from '../../services/context.ts';
import { tasksService } from '../../services/tasks.ts';
import { LocalTaskManager } from '../../tasks/local-task-manager.ts';
import { addContainerMetrics } from '../container-metrics.ts';
import type { Core } from '../core.ts';
import type { DaemonModule } from '../module.ts';
import { ttrpcAddress } from '../ttrpc-address.ts';

/** The tasks, which live in shims. */
export function openTasks(core: Core): DaemonModule {
  const { config, events, log } = core;
  const manager = new LocalTaskManager({
    state: config.state,
    root: config.root,
    daemon: {
      grpc: config.grpc.address,
      ttrpc: ttrpcAddress(config),
      program: process.execPath,
    },
    events,
    log,
    isDebug: ['debug', 'trace'].includes(config.debug.level),
  });
  core.tasks = manager;
  const stateTimeoutMs = durationMs(config.timeouts['io.containerd.timeout.task.state'] ?? '');
  addContainerMetrics(core.metrics, {
    namespaces: core.namespaces,
    containers: core.containers,
    tasks: manager,
    timeoutMs: durationMs(config.timeouts['io.containerd.timeout.metrics.shimstats'] ?? ''),
    hasEach: !config.plugins['io.containerd.monitor.task.v1.cgroups'].no_prometheus,
  });
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
    ],
    services: [grpcService(Tasks, tasksService(core.containers, manager, { stateTimeoutMs }))],
    start: () => manager.recover(),
    waits: () => manager.waits(),
    close: () => manager.close(),
  };
}
