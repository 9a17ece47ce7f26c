import type { Namespaces } from '../api/generated/containerd.services.namespaces.v1.ts';
import type { ServiceHandlers } from '../api/service.ts';
import type { NamespaceStore } from '../metadata/namespace-store.ts';
import type { GrpcContext } from './context.ts';
import { required } from './request.ts';

export function namespacesService(
  store: NamespaceStore,
): ServiceHandlers<typeof Namespaces, GrpcContext> {
  return {
    get: async ({ name }) => ({ namespace: store.get(name) }),
    list: async () => ({ namespaces: store.list() }),
    async create({ namespace }) {
      return { namespace: store.create(required(namespace, 'namespace')) };
    },
    async update({ namespace, updateMask }) {
      const update = required(namespace, 'namespace');
      return { namespace: store.update(update, updateMask?.paths ?? []) };
    },
    async delete({ name }) {
      store.delete(name);
      return {};
    },
  };
}
