import { randomBytes } from 'node:crypto';
import type {
  Lease as LeaseMessage,
  Leases,
} from '../api/generated/containerd.services.leases.v1.ts';
import type { Init } from '../api/init.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { nowNs, timestampFromNs } from '../api/time.ts';
import type { Lease, LeaseStore } from '../metadata/lease-store.ts';
import type { GrpcContext } from './context.ts';
import { required } from './request.ts';

export function leasesService(store: LeaseStore): ServiceHandlers<typeof Leases, GrpcContext> {
  return {
    async create({ id, labels }, { scope }) {
      return { lease: leaseMessage(store.create(scope, id === '' ? randomId() : id, labels)) };
    },
    async delete({ id, sync }, { scope }) {
      await store.delete(scope, id, sync);
      return {};
    },
    list: async ({ filters }, { scope }) => ({
      leases: store.list(scope, filters).map(leaseMessage),
    }),
    async addResource({ id, resource }, { scope }) {
      store.addResource(scope, id, required(resource, 'resource'));
      return {};
    },
    async deleteResource({ id, resource }, { scope }) {
      store.deleteResource(scope, id, required(resource, 'resource'));
      return {};
    },
    listResources: async ({ id }, { scope }) => ({ resources: store.listResources(scope, id) }),
  };
}

/** Sorts by time and does not collide: `1700000000123456789-aGVs`. */
function randomId(): string {
  return `${nowNs()}-${randomBytes(3).toString('base64url')}`;
}

function leaseMessage({ id, labels, createdAt }: Lease): Init<LeaseMessage> {
  return { id, labels, createdAt: timestampFromNs(createdAt) };
}
