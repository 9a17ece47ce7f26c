import type { AnyMessage } from '../api/any.ts';
import type { Container, Containers } from '../api/generated/containerd.services.containers.v1.ts';
import type { Init } from '../api/init.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { timestampFromNs } from '../api/time.ts';
import type { ContainerRecord, ContainerStore, NewContainer } from '../metadata/container-store.ts';
import type { GrpcContext } from './context.ts';
import { required } from './request.ts';

/**
 * The containers service. `expectTask` is told of the runtime of each new container that will not share a shim: clients
 * mostly ask for its task next.
 */
export function containersService(
  store: ContainerStore,
  expectTask: (runtime: string, options: AnyMessage | undefined) => void,
): ServiceHandlers<typeof Containers, GrpcContext> {
  return {
    get: async ({ id }, { scope }) => ({ container: containerMessage(store.get(scope, id)) }),
    list: async ({ filters }, { scope }) => ({
      containers: store.list(scope, filters).map(containerMessage),
    }),
    async *listStream({ filters }, { scope }) {
      for (const record of store.list(scope, filters))
        yield { container: containerMessage(record) };
    },
    async create({ container }, { scope }) {
      const record = store.create(scope, newContainer(required(container, 'container')));
      if (record.sandbox === '') expectTask(record.runtime.name, record.runtime.options);
      return { container: containerMessage(record) };
    },
    async update({ container, updateMask }, { scope }) {
      const update = newContainer(required(container, 'container'));
      const record = store.update(scope, update, updateMask?.paths ?? []);
      return { container: containerMessage(record) };
    },
    async delete({ id }, { scope }) {
      store.delete(scope, id);
      return {};
    },
  };
}

function newContainer(message: Container): NewContainer {
  const { runtime, createdAt: _created, updatedAt: _updated, ...rest } = message;
  return { ...rest, runtime: { name: runtime?.name ?? '', options: runtime?.options } };
}

function containerMessage(record: ContainerRecord): Init<Container> {
  return {
    ...record,
    createdAt: timestampFromNs(record.createdAt),
    updatedAt: timestampFromNs(record.updatedAt),
  };
}
