import { TtrpcError, TtrpcServer, type TtrpcServerOptions } from '../../ttrpc/index.ts';
import { Events } from '../api/generated/containerd.services.events.ttrpc.v1.ts';
import { ERROR_KINDS, TsError } from '../errors/index.ts';
import type { EventExchange } from '../events/event-exchange.ts';
import { envelopeOf } from '../services/events.ts';
import { required } from '../services/request.ts';

/** The ttrpc server to which shims send their events. */
export function eventServer(exchange: EventExchange, options: TtrpcServerOptions): TtrpcServer {
  return new TtrpcServer(options).add(Events, {
    async forward({ envelope }) {
      try {
        exchange.forward(envelopeOf(required(envelope, 'envelope')));
      } catch (thrown) {
        const error = TsError.from(thrown);
        throw new TtrpcError(ERROR_KINDS[error.kind].status, error.text, { cause: error });
      }
      return {};
    },
  });
}
