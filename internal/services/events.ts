import type { Events } from '../api/generated/containerd.services.events.v1.ts';
import type { Envelope as EnvelopeMessage } from '../api/generated/containerd.types.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { timestampFromNs, timestampToNs } from '../api/time.ts';
import type { Envelope, EventExchange } from '../events/event-exchange.ts';
import type { GrpcContext } from './context.ts';
import { required } from './request.ts';

export function eventsService(
  exchange: EventExchange,
): ServiceHandlers<typeof Events, GrpcContext> {
  return {
    async publish({ topic, event }, { scope }) {
      exchange.publish(scope, topic, required(event, 'event'));
      return {};
    },
    async forward({ envelope }) {
      exchange.forward(envelopeOf(required(envelope, 'envelope')));
      return {};
    },
    async *subscribe({ filters }, { signal }) {
      for await (const { timestamp, ...rest } of exchange.subscribe(filters, signal)) {
        yield { ...rest, timestamp: timestampFromNs(timestamp) };
      }
    },
  };
}

/** An event as it comes over the wire; without a time it has the time 0. */
export function envelopeOf({ timestamp, namespace, topic, event }: EnvelopeMessage): Envelope {
  const timestampNs = timestamp === undefined ? 0n : timestampToNs(timestamp);
  return { timestamp: timestampNs, namespace, topic, event };
}
