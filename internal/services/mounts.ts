import type { Mounts } from '../api/generated/containerd.services.mounts.v1.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { TsError } from '../errors/index.ts';
import type { GrpcContext } from './context.ts';

/**
 * The mounts service. A mount has to be activated when the daemon must do something before it can be
 * mounted (format a file, set up a device). The snapshotters here give mounts that the kernel takes
 * as they are, so nothing is ever active: clients are told to mount them, as containerd tells them.
 */
export function mountsService(): ServiceHandlers<typeof Mounts, GrpcContext> {
  const absent = (name: string): TsError => new TsError('NotFound', `mount ${name}: not found`);
  return {
    async activate({ name, mounts }, { scope: _ }) {
      const types = [...new Set(mounts.map(({ type }) => type))].join(', ');
      throw new TsError('NotImplemented', `activate ${name}: nothing to prepare for ${types}`, {
        advice: 'mount it as it is',
      });
    },
    async deactivate({ name }, { scope: _ }) {
      throw absent(name);
    },
    async info({ name }, { scope: _ }) {
      throw absent(name);
    },
    async update({ info }, { scope: _ }) {
      throw absent(info?.name ?? '');
    },
    async *list(_request, { scope: _ }) {
      // none is active
    },
  };
}
