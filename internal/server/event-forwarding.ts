import type { Socket } from 'node:net';
import { TtrpcError, TtrpcServer, type TtrpcServerOptions } from '../../ttrpc/index.ts';
import { Events } from '../api/generated/containerd.services.events.ttrpc.v1.ts';
import { ERROR_KINDS, TsError } from '../errors/index.ts';
import type { EventExchange } from '../events/event-exchange.ts';
import { peerCredentials } from '../linux/index.ts';
import { envelopeOf } from '../services/events.ts';
import { required } from '../services/request.ts';

/**
 * The ttrpc server to which shims send their events. Only processes of this user are heard,
 * whatever the socket's mode says: an exit that somebody made up would be believed.
 */
export function eventServer(exchange: EventExchange, options: TtrpcServerOptions): TtrpcServer {
  return new TtrpcServer({ authorize: sameUserOnly, ...options }).add(Events, {
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

function sameUserOnly(socket: Socket): void {
  // node:net does not show the descriptor, and only the kernel knows the peer.
  const fd = (socket as Socket & { _handle?: { fd?: number } })._handle?.fd;
  if (fd === undefined || fd < 0) throw new TsError('Unavailable', 'peer is gone');
  const { uid, gid, pid } = peerCredentials(fd);
  if (uid !== process.geteuid?.() || gid !== process.getegid?.()) {
    throw new TsError('PermissionDenied', `connection from uid ${uid}, gid ${gid} (pid ${pid})`);
  }
}
