/**
 * The serving process: the parent of containers, which outlives daemons. It leaves when it is told
 * to and has no container left, and for no other reason.
 */
import { rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { type Status, TtrpcError, TtrpcServer } from '../../ttrpc/index.ts';
import { Task } from '../api/generated/containerd.task.v2.ts';
import { ERROR_KINDS, TsError } from '../errors/index.ts';
import { IdleMemory } from '../linux/idle-memory.ts';
import {
  peerCredentials,
  setChildSubreaper,
  setProcessName,
  unblockSignal,
} from '../linux/index.ts';
import { ChildRegistry } from './command.ts';
import type { ShimContext } from './container.ts';
import { EventPublisher } from './event-publisher.ts';
import { ExitLedger } from './exit-ledger.ts';
import { closeInheritedFds } from './inherited-fds.ts';
import { addLazyService } from './lazy-service.ts';
import { createShimLog, type ShimLog } from './log.ts';
import { Reaper } from './reaper.ts';
import { RunningRequests } from './running-requests.ts';
import type { ShimFlags } from './shim-flags.ts';
import { pathOfAddress } from './socket-address.ts';
import { TaskService } from './task-service.ts';

/** Number of the listening socket that `start` hands on. */
export const LISTENER_FD = 3;
/** Version 3 has the messages of version 2: loading its module, too, would cost each pod memory. */
const TASK_V3 = { ...Task, typeName: 'containerd.task.v3.Task' } as const;
/** Methods of services that are loaded when somebody calls them. */
const LOGS_METHODS = { Reopen: 'unary', Status: 'unary', Attach: 'server' } as const;
const SANDBOX_METHODS = {
  CreateSandbox: 'unary',
  StartSandbox: 'unary',
  Platform: 'unary',
  StopSandbox: 'unary',
  WaitSandbox: 'unary',
  SandboxStatus: 'unary',
  PingSandbox: 'unary',
  ShutdownSandbox: 'unary',
  SandboxMetrics: 'unary',
} as const;
/** How long the last events may take on the way out. */
const LAST_EVENTS_MS = 5_000;

/** Serves until Shutdown. The socket file goes with the process. */
export async function serve(flags: ShimFlags, listenerFd: number): Promise<void> {
  const socketPath = pathOfAddress(flags.socket);
  const log = createShimLog(flags.isDebug, { namespace: flags.namespace, id: flags.id });
  surviveErrors(log);
  closeInheritedFds([listenerFd]);
  setChildSubreaper(true);
  setProcessName('containerd-shim'); // as people and scripts look for it; Node's is its own
  const children = new ChildRegistry();
  const ledger = new ExitLedger();
  const events = new EventPublisher(process.env['TTRPC_ADDRESS'] ?? '', flags.namespace, log);
  const context: ShimContext = { namespace: flags.namespace, children, ledger, events, log };
  using memory = new IdleMemory();
  using _reaper = new Reaper(children, ledger, () => memory.touch());

  const shutdown = Promise.withResolvers<void>();
  const service = new TaskService({
    context,
    isDebug: flags.isDebug,
    onShutdown: shutdown.resolve,
  });
  const server = new TtrpcServer({
    authorize: sameUserOnly,
    errorToStatus: (thrown) => statusOf(thrown, log),
    onError: (error) => log.warn('connection refused', { error }),
  });
  const requests = new RunningRequests(() => memory.touch());
  const handlers = requests.watch(service.handlers);
  server.add(Task, handlers).add(TASK_V3, handlers);
  addLazyService(server, 'tscontainerd.shim.v1.Logs', LOGS_METHODS, async () => {
    return (await import('./log-service.ts')).logService(service);
  });
  addLazyService(server, 'containerd.runtime.sandbox.v1.Sandbox', SANDBOX_METHODS, async () => {
    const { isDebug } = flags;
    return (await import('./sandbox-service.ts')).sandboxService({
      context,
      tasks: service,
      isDebug,
    });
  });
  handleSignals({ service, events, requests, leave: shutdown.resolve, log });
  await server.listen({ fd: listenerFd });
  log.debug('serving', { pid: process.pid, socket: socketPath });

  await shutdown.promise;
  // Whoever asks from now on must find nobody: a new task then gets a new shim.
  rmSync(socketPath, { force: true });
  await server.shutdown(1_000);
  await events.close(LAST_EVENTS_MS);
}

/** CVE-2020-15257: the socket is 0600 in a 0700 directory, and each peer is looked at besides. */
function sameUserOnly(socket: Socket): void {
  // node:net does not show the descriptor; there is no other way to ask the kernel for the peer.
  const fd = (socket as Socket & { _handle?: { fd?: number } })._handle?.fd;
  if (fd === undefined || fd < 0) throw new TsError('Unavailable', 'peer is gone');
  const { uid, pid } = peerCredentials(fd);
  if (uid !== process.geteuid?.()) {
    throw new TsError('PermissionDenied', `connection from uid ${uid} (pid ${pid})`);
  }
}

/** Kinds as codes; the text ends as containerd's do, so that Go clients recognise it. */
function statusOf(thrown: unknown, log: ShimLog): Status {
  if (thrown instanceof TtrpcError) {
    return { code: thrown.code, message: thrown.message, details: [] };
  }
  const error = TsError.from(thrown);
  if (!(thrown instanceof TsError)) log.error('request failed', { error: thrown });
  const { status, text } = ERROR_KINDS[error.kind];
  const hasText = error.kind === 'Unknown' || error.text.endsWith(`: ${text}`);
  return { code: status, message: hasText ? error.text : `${error.text}: ${text}`, details: [] };
}

/** A mistake in one request must not take the containers of a pod with it. */
function surviveErrors(log: ShimLog): void {
  process.on('uncaughtException', (error) => log.error('uncaught exception', { error }));
  process.on('unhandledRejection', (error) => log.error('unhandled rejection', { error }));
}

interface Signalled {
  readonly service: TaskService;
  readonly events: EventPublisher;
  readonly requests: RunningRequests;
  readonly leave: () => void;
  readonly log: ShimLog;
}

function handleSignals({ service, events, requests, leave, log }: Signalled): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      // A service manager that stops everything must not orphan running containers.
      if (service.isEmpty) leave();
      else log.warn('signal ignored: containers are left', { signal });
    });
  }
  process.on('SIGHUP', () => {}); // its default would be the end of the shim
  // Node started with --disable-sigusr1 blocks it for its own sake.
  unblockSignal('SIGUSR1');
  process.on('SIGUSR1', () => {
    const rssBytes = process.memoryUsage.rss();
    log.info('state on request', { pendingEvents: events.pending, rssBytes });
    for (const request of requests.list()) log.info('request', { ...request });
    for (const { id, init, execs } of service.containers) {
      for (const { execId, pid, state, isReaped } of [init, ...execs]) {
        const exit = isReaped ? 'reaped' : 'awaited';
        log.info('process', { container: id, exec: execId, pid, status: state.status, exit });
      }
    }
  });
}
