import type { AnyMessage } from '../../api/any.ts';
import * as events from '../../api/generated/containerd.events.ts';
import { Events } from '../../api/generated/containerd.services.events.v1.ts';
import type { MessageType } from '../../api/service.ts';
import { timestampToNs } from '../../api/time.ts';
import { formatJson } from '../../oci/index.ts';
import type { Command } from '../command.ts';
import { goJson } from '../go-json.ts';
import { goTime, rfc3339 } from '../message-json.ts';

/** The messages of containerd's own events by their full names. */
const TYPES: ReadonlyMap<string, MessageType<object>> = new Map(
  Object.values(events)
    .filter((each) => typeof each === 'object' && 'typeName' in each)
    .map((each) => [each.typeName, each as MessageType<object>]),
);

/** `tsctr events`. */
export const EVENTS: Command = {
  name: 'events',
  aliases: ['event'],
  summary: 'print events as they happen, until interrupted',
  usage: '[<filter>...]',
  objects: ['text'],
  async run({ client, args, output }) {
    for await (const envelope of client.service(Events).subscribe({ filters: [...args] })) {
      const { timestamp, namespace, topic, event } = envelope;
      const ns = timestamp === undefined ? 0n : timestampToNs(timestamp);
      const body = event === undefined ? {} : eventJson(event);
      output.line(
        output.format === 'json'
          ? formatJson({ timestamp: rfc3339(ns), namespace, topic, event: body })
          : `${goTime(ns)} ${namespace} ${topic} ${formatJson(body)}`,
      );
    }
  },
};

/** An event's fields; of one that we do not know its type and bytes. */
function eventJson(event: AnyMessage): unknown {
  const type = TYPES.get(event.typeUrl.slice(event.typeUrl.lastIndexOf('/') + 1));
  return goJson(type === undefined ? event : type.decode(event.value));
}
