import type { IdleMemory } from '../linux/idle-memory.ts';
import { type CallObserver, UNOBSERVED } from './grpc-server.ts';

/** Tells `memory` of each call's begin and end, and `observer` of all that it wants to know. */
export function idleCalls(memory: IdleMemory, observer: CallObserver | undefined): CallObserver {
  return {
    begin(path, kind) {
      memory.touch();
      const call = observer?.begin(path, kind) ?? UNOBSERVED;
      return {
        received: call.received,
        sent: call.sent,
        ended(code) {
          memory.touch();
          call.ended(code);
        },
      };
    },
  };
}
