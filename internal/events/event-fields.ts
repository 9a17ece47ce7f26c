import type { AnyMessage } from '../api/any.ts';
import * as events from '../api/generated/containerd.events.ts';
import {
  ImageCreate,
  ImageDelete,
  ImageUpdate,
} from '../api/generated/containerd.services.images.v1.ts';
import type { MessageType } from '../api/service.ts';
import { type FieldLookup, present } from '../metadata/filters.ts';
import type { Envelope } from './event-exchange.ts';

// biome-ignore lint/suspicious/noExplicitAny: a table of codecs of any messages
type Codec = MessageType<any>;

const CODECS: ReadonlyMap<string, Codec> = new Map(
  [...(Object.values(events) as Codec[]), ImageCreate, ImageDelete, ImageUpdate].map((codec) => [
    codec.typeName,
    codec,
  ]),
);

/**
 * Fields that a subscription can filter by: `namespace`, `topic`, and `event.FIELD` for the text
 * fields of a known event, by their names in the .proto file: `event.container_id`. The event is
 * decoded only when a filter looks into it.
 */
export function fieldsOfEnvelope(envelope: Envelope): FieldLookup {
  let event: unknown;
  return (path) => {
    switch (path[0]) {
      case 'namespace':
        return present(envelope.namespace);
      case 'topic':
        return present(envelope.topic);
      case 'event':
        event ??= decode(envelope.event);
        return lookUp(event, path.slice(1));
      default:
        return undefined;
    }
  };
}

function decode(any: AnyMessage | undefined): unknown {
  const codec = any && CODECS.get(any.typeUrl);
  if (codec === undefined) return {};
  try {
    return codec.decode(any?.value ?? new Uint8Array(0));
  } catch {
    return {}; // what is not of its type has no fields; the subscriber gets the bytes as they are
  }
}

function lookUp(value: unknown, path: readonly string[]): string | undefined {
  if (typeof value === 'string') return path.length === 0 ? present(value) : undefined;
  if (value instanceof Map) return value.get(path.join('.'));
  const [field, ...rest] = path;
  if (field === undefined || typeof value !== 'object' || value === null) return undefined;
  const key = field.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase());
  return Object.hasOwn(value, key) ? lookUp(value[key as never], rest) : undefined;
}
