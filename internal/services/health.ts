import { type Health, HealthCheckResponse_ServingStatus } from '../api/generated/grpc.health.v1.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { TsError } from '../errors/index.ts';
import type { GrpcContext } from './context.ts';

/** The health service: the whole server, which is asked for by the empty name, serves. */
export function healthService(): ServiceHandlers<typeof Health, GrpcContext> {
  const { SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;
  return {
    async check({ service }) {
      if (service === '') return { status: SERVING };
      throw new TsError('NotFound', `health of service "${service}": not found`);
    },
    async *watch({ service }, { signal }) {
      yield { status: service === '' ? SERVING : SERVICE_UNKNOWN };
      if (signal.aborted) return;
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    },
  };
}
