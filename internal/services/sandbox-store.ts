import type { Store } from '../api/generated/containerd.services.sandbox.v1.ts';
import type { Sandbox } from '../api/generated/containerd.types.ts';
import type { Init } from '../api/init.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { timestampFromNs } from '../api/time.ts';
import type { NewSandbox, SandboxRecord, SandboxStore } from '../metadata/sandbox-store.ts';
import type { GrpcContext } from './context.ts';
import { required } from './request.ts';

/** The sandboxes' records. */
export function sandboxStoreService(
  store: SandboxStore,
): ServiceHandlers<typeof Store, GrpcContext> {
  return {
    async create({ sandbox }, { scope }) {
      const record = store.create(scope, newSandbox(required(sandbox, 'sandbox')));
      return { sandbox: sandboxMessage(record) };
    },
    async update({ sandbox, fields }, { scope }) {
      const record = store.update(scope, newSandbox(required(sandbox, 'sandbox')), fields);
      return { sandbox: sandboxMessage(record) };
    },
    async delete({ sandboxId }, { scope }) {
      store.delete(scope, sandboxId);
      return {};
    },
    list: async ({ filters }, { scope }) => ({
      list: store.list(scope, filters).map(sandboxMessage),
    }),
    get: async ({ sandboxId }, { scope }) => ({
      sandbox: sandboxMessage(store.get(scope, sandboxId)),
    }),
  };
}

function newSandbox({
  sandboxId,
  runtime,
  spec,
  labels,
  extensions,
  sandboxer,
}: Sandbox): NewSandbox {
  return {
    id: sandboxId,
    runtime: { name: runtime?.name ?? '', options: runtime?.options },
    spec,
    labels,
    extensions,
    sandboxer,
  };
}

function sandboxMessage({ id, ...record }: SandboxRecord): Init<Sandbox> {
  return {
    ...record,
    sandboxId: id,
    createdAt: timestampFromNs(record.createdAt),
    updatedAt: timestampFromNs(record.updatedAt),
  };
}
