import { AttachResponse, Logs } from '../api/generated/tscontainerd.shim.v1.ts';
import type { Init } from '../api/init.ts';
import type { CallContext, ServiceHandlers } from '../api/service.ts';
import { TsError } from '../errors/index.ts';
import type { LogSink } from './log-sink.ts';
import type { StreamName } from './log-uri.ts';
import { OutputTap } from './output-tap.ts';
import type { TaskService } from './task-service.ts';

/** Serves tscontainerd.shim.v1.Logs over the containers of a task service. */
export function logService(tasks: TaskService) {
  const sinksOf = (id: string, execId: string): readonly LogSink[] => {
    const { logs } = tasks.container(id).process(execId).io;
    if (logs.length > 0) return logs;
    const what = execId === '' ? `container ${id}` : `process ${execId} of container ${id}`;
    throw new TsError('FailedPrecondition', `${what} has no log of the shim's own`, {
      code: 'TS_LOG_NONE',
      advice: 'create it with cri://PATH as its stdout',
    });
  };
  const filesOf = (id: string, execId: string) => {
    return new Set(sinksOf(id, execId).map(({ file }) => file));
  };

  const handlers: ServiceHandlers<typeof Logs> = {
    reopen: async ({ id, execId }) => {
      for (const file of filesOf(id, execId)) await file.reopen();
      return {};
    },

    status: async ({ id, execId }) => {
      const files = [...filesOf(id, execId)].map(({ path, counts }) => ({ path, ...counts }));
      return { files };
    },

    attach: (request, context) => attach(sinksOf(request.id, request.execId), request, context),
  };
  return { service: Logs, handlers };
}

async function* attach(
  sinks: readonly LogSink[],
  { stdout, stderr }: { stdout: boolean; stderr: boolean },
  { signal }: CallContext,
): AsyncGenerator<Init<AttachResponse>> {
  const wanted = new Set<StreamName>([
    ...(stdout ? (['stdout'] as const) : []),
    ...(stderr ? (['stderr'] as const) : []),
  ]);
  const heard = sinks.filter(({ stream }) => wanted.has(stream));
  const tap = new OutputTap(heard.map(({ stream }) => stream));
  for (const sink of heard) sink.attach(tap);
  try {
    yield AttachResponse.create();
    for await (const { stream, bytes, droppedBytes } of tap.pieces(signal)) {
      yield { stream, data: bytes, dropped: BigInt(droppedBytes) };
    }
  } finally {
    for (const sink of heard) sink.detach(tap);
  }
}
