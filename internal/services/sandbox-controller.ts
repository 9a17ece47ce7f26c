import { packAny } from '../api/any.ts';
import { SandboxCreate, SandboxExit, SandboxStart } from '../api/generated/containerd.events.ts';
import type { Controller } from '../api/generated/containerd.services.sandbox.v1.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { nowNs, timestampFromNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import type { EventExchange } from '../events/event-exchange.ts';
import type { SandboxController } from '../tasks/sandbox-controller.ts';
import type { GrpcContext } from './context.ts';
import { required } from './request.ts';

/** What runs the sandboxes, by the controllers' names (`sandboxer` of a request). */
export function sandboxControllerService(
  controllers: ReadonlyMap<string, SandboxController>,
  events: EventExchange,
): ServiceHandlers<typeof Controller, GrpcContext> {
  const of = ({ sandboxer }: { readonly sandboxer: string }): SandboxController => {
    if (sandboxer === '') {
      throw new TsError(
        'InvalidArgument',
        'sandbox controller name can not be empty: invalid argument',
      );
    }
    const controller = controllers.get(sandboxer);
    if (controller !== undefined) return controller;
    const known = [...controllers.keys()].join(', ');
    throw new TsError('NotFound', `sandbox controller "${sandboxer}": not found`, {
      advice: `name one of ${known}`,
    });
  };
  return {
    async create(request, { scope }) {
      const { sandbox, sandboxId, rootfs, options, netnsPath, annotations } = request;
      const controller = of(request);
      const id = sandbox === undefined ? sandboxId : sandbox.sandboxId;
      const { runtime, spec } = required(sandbox, `sandbox of ${sandboxId}`);
      await controller.create(scope, {
        ...{ id, runtime: runtime?.name ?? '', runtimeOptions: runtime?.options },
        ...{ spec, rootfs, options, netnsPath, annotations },
      });
      events.publish(scope, '/sandboxes/create', packAny(SandboxCreate, { sandboxId: id }));
      return { sandboxId: id };
    },
    async start(request, { scope }) {
      const { sandboxId } = request;
      const { pid, createdAt, address } = await of(request).start(scope, sandboxId);
      events.publish(scope, '/sandboxes/start', packAny(SandboxStart, { sandboxId }));
      const times = { createdAt: timeOf(createdAt) };
      return { sandboxId, pid, ...times, address: address.address, version: address.version };
    },
    async platform(request, { scope }) {
      return { platform: await of(request).platform(scope, request.sandboxId) };
    },
    async stop(request, { scope }) {
      const controller = of(request);
      await controller.stop(scope, request.sandboxId, request.timeoutSecs).catch(unlessGone); // what is not there has stopped, as for containerd
      return {};
    },
    async wait(request, { scope, signal }) {
      const { sandboxId } = request;
      const { status: exitStatus, at } = await of(request).wait(scope, sandboxId, signal);
      const exit = { exitStatus, exitedAt: timeOf(at) };
      events.publish(scope, '/sandboxes/exit', packAny(SandboxExit, { sandboxId, ...exit }));
      return exit;
    },
    async status(request, { scope }) {
      const { sandboxId, verbose } = request;
      const controller = of(request);
      const status = await controller.status(scope, sandboxId, verbose).catch(unlessGone);
      // As for containerd, whose clients ask after sandboxes that have been shut down.
      if (status === undefined) return { sandboxId, exitedAt: timeOf(nowNs()) };
      const times = { createdAt: timeOf(status.createdAt), exitedAt: timeOf(status.exitedAt) };
      const { address, version } = status.address;
      return { ...status, ...times, sandboxId, address, version };
    },
    async shutdown(request, { scope }) {
      await of(request).shutdown(scope, request.sandboxId);
      return {};
    },
    async metrics(request, { scope }) {
      return { metrics: await of(request).metrics(scope, request.sandboxId) };
    },
    async update(request, { scope }) {
      // As for containerd the record in the store is what changes: the shim has no call for it.
      required(request.sandbox, `sandbox of the update of ${request.sandboxId}`);
      await of(request).status(scope, request.sandboxId, false);
      return {};
    },
  };
}

function unlessGone(thrown: unknown): undefined {
  if (TsError.from(thrown).kind !== 'NotFound') throw thrown;
}

function timeOf(at: bigint | undefined) {
  return at === undefined ? undefined : timestampFromNs(at);
}
