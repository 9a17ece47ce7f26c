import { chmodSync, chownSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { isErrno, TsError } from '../errors/index.ts';

export interface SocketOwner {
  readonly uid: number;
  readonly gid: number;
}

/** Longest path of a unix socket, without the final zero (man 7 unix). */
const MAX_PATH_BYTES = 107;

/**
 * Listens on a unix socket with mode 0660. A socket file that nobody serves any more is replaced;
 * one that is served is AlreadyExists. `onError` hears of connections that could not be accepted.
 */
export async function listenUnix(
  path: string,
  owner: SocketOwner,
  onConnection: (connection: Socket) => void,
  onError: (error: unknown) => void,
): Promise<Server> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw new TsError(
      'InvalidArgument',
      `listen on ${path}: a socket path has at most ${MAX_PATH_BYTES} bytes`,
      { code: 'TS_SOCKET_PATH_LONG', advice: 'choose a shorter --address' },
    );
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o711 });
  if (await isServed(path)) {
    throw new TsError('AlreadyExists', `listen on ${path}: another process serves this socket`, {
      code: 'TS_SOCKET_SERVED',
      advice: 'stop it or choose another --address',
    });
  }
  rmSync(path, { force: true });
  const server = createServer({ allowHalfOpen: false }, onConnection);
  // The file must at no moment be open to others: bind() runs inside of listen().
  const mask = process.umask(0o177);
  const listening = new Promise<void>((resolve, reject) => {
    server.once('listening', resolve);
    server.once('error', reject);
  });
  try {
    server.listen(path);
  } finally {
    process.umask(mask);
  }
  try {
    await listening;
    chownSync(path, owner.uid, owner.gid);
    chmodSync(path, 0o660);
  } catch (error) {
    server.close();
    throw TsError.from(error, `listen on ${path}`);
  }
  server.on('error', onError);
  return server;
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error) => {
      if (isErrno(error, 'ENOENT', 'ECONNREFUSED')) resolve(false);
      else reject(TsError.from(error, `listen on ${path}`));
    });
  });
}
