import type { Server as HttpServer } from 'node:http';
import type { Server } from 'node:net';
import type { TtrpcServer } from '../../ttrpc/index.ts';
import { Introspection } from '../api/generated/containerd.services.introspection.v1.ts';
import { Version } from '../api/generated/containerd.services.version.v1.ts';
import { Health } from '../api/generated/grpc.health.v1.ts';
import { ServerReflection as Reflection } from '../api/generated/grpc.reflection.v1.ts';
import { ServerReflection as ReflectionV1alpha } from '../api/generated/grpc.reflection.v1alpha.ts';
import type { ConfigFile } from '../config/index.ts';
import { type ErrorKind, TsError } from '../errors/index.ts';
import { IdleMemory } from '../linux/idle-memory.ts';
import type { Logger } from '../log/index.ts';
import { grpcService } from '../services/context.ts';
import { healthService } from '../services/health.ts';
import { introspectionService } from '../services/introspection.ts';
import type { Plugin } from '../services/plugin.ts';
import { reflectionService } from '../services/reflection.ts';
import { versionService } from '../services/version.ts';
import { callMetrics } from './call-metrics.ts';
import { type Core, closeCore, openCore } from './core.ts';
import { criMetrics } from './cri-metrics.ts';
import { eventServer } from './event-forwarding.ts';
import { GrpcServer, type GrpcServerOptions } from './grpc-server.ts';
import { readIdentity } from './identity.ts';
import { idleCalls } from './idle-calls.ts';
import type { DaemonModule } from './module.ts';
import { MODULES } from './modules/index.ts';
import { listenUnix } from './socket.ts';
import { listenTcp } from './tcp-listener.ts';
import { ttrpcAddress } from './ttrpc-address.ts';
import { REVISION, VERSION } from './version.ts';

/** How long calls may go on when the daemon stops, and how long they may take to be aborted. */
const SHUTDOWN_DRAIN_MS = 500;
const SHUTDOWN_GRACE_MS = 5000;
/** Shortest time between two givings back of memory: what they cost, some 50 ms, must not be noticed. */
const MEMORY_PAUSE_MS = 60_000;
/** Services of the CRI (`disable_tcp_service`). */
const CRI_PACKAGE = 'runtime.v1.';

/** The daemon: stores, modules and the sockets they are served on. */
export class Daemon implements AsyncDisposable {
  readonly #core: Core;
  readonly #grpc: GrpcServer;
  /** The same services for clients over TCP, who may be kept from the CRI; none without such an address. */
  readonly #tcpGrpc: GrpcServer | undefined;
  readonly #modules: DaemonModule[] = [];
  readonly #ttrpc: TtrpcServer;
  readonly #sockets: Server[] = [];
  readonly #httpServers: HttpServer[] = [];
  /** A daemon that is never idle is left to V8. */
  readonly #memory = new IdleMemory({ pauseMs: MEMORY_PAUSE_MS, busyTouches: Infinity });
  #closing: Promise<void> | undefined;

  private constructor(core: Core) {
    this.#core = core;
    const { metrics } = core.config;
    const isMeasured = metrics.address !== '';
    const options: GrpcServerOptions = {
      maxReceiveBytes: core.config.grpc.max_recv_message_size,
      maxSendBytes: core.config.grpc.max_send_message_size,
      onError: (path, error) => logFailure(core.log, path, error),
      observer: idleCalls(
        this.#memory,
        isMeasured
          ? criMetrics(core.metrics, callMetrics(core.metrics, metrics.grpc_histogram))
          : undefined,
      ),
    };
    this.#grpc = new GrpcServer(options);
    this.#tcpGrpc = core.config.grpc.tcp_address === '' ? undefined : new GrpcServer(options);
    this.#ttrpc = eventServer(core.events, {
      onError: (error) => core.log.warn({ error }, 'shim connection'),
    });
  }

  /** Opens everything and accepts connections; what was opened is closed again if that fails. */
  static async start(config: ConfigFile, log: Logger): Promise<Daemon> {
    const daemon = new Daemon(openCore(config, log));
    try {
      await daemon.#open();
      return daemon;
    } catch (error) {
      await daemon.close();
      throw error;
    }
  }

  async #open(): Promise<void> {
    const { config } = this.#core;
    for (const open of MODULES) this.#add(await open(this.#core));
    this.#add(this.#describe());
    for (const module of this.#modules) await module.start?.();
    this.#checkPlugins();
    const { grpc, ttrpc, debug, metrics } = config;
    const onError = (error: unknown): void => this.#core.log.error({ error }, 'accept connection');
    // First, since a shim that is started by a first call sends its events here.
    this.#sockets.push(
      await listenUnix(
        ttrpcAddress(config),
        ttrpc,
        (socket) => void this.#ttrpc.accept(socket),
        onError,
      ),
    );
    const tcp = this.#tcpGrpc;
    if (tcp !== undefined) {
      this.#sockets.push(await listenTcp(grpc, (socket) => tcp.accept(socket), onError));
    }
    if (metrics.address !== '') {
      const { serveMetrics } = await import('./metrics-server.ts');
      const { addProcessMetrics } = await import('./process-metrics.ts');
      addProcessMetrics(this.#core.metrics, VERSION, REVISION);
      this.#httpServers.push(await serveMetrics(metrics.address, this.#core.metrics));
    }
    if (debug.address !== '') {
      const { debugServer } = await import('./debug-server.ts');
      const { server, accept } = debugServer({ log: this.#core.log, waits: () => this.waits() });
      this.#httpServers.push(server);
      this.#sockets.push(await listenUnix(debug.address, debug, accept, onError));
    }
    // Last: who sees this socket finds all the others.
    this.#sockets.push(
      await listenUnix(grpc.address, grpc, (socket) => this.#grpc.accept(socket), onError),
    );
    this.#memory.touch(); // a start leaves much
  }

  #checkPlugins(): void {
    const { required_plugins, disabled_plugins } = this.#core.config;
    const plugins = new Map(
      this.#modules.flatMap((module) =>
        module.plugins.map((plugin) => [`${plugin.type}.${plugin.id}`, plugin]),
      ),
    );
    for (const uri of required_plugins) {
      const plugin = plugins.get(uri);
      if (plugin === undefined || plugin.initError !== undefined) {
        const reason = plugin === undefined ? 'there is none' : TsError.from(plugin.initError).text;
        throw new TsError('FailedPrecondition', `required plugin "${uri}": ${reason}`);
      }
    }
    for (const uri of disabled_plugins) {
      if (plugins.has(uri)) this.#core.log.warn(`plugin "${uri}" cannot be disabled`);
    }
  }

  #add(module: DaemonModule): void {
    this.#modules.push(module);
    const { disable_tcp_service } = this.#core.config.plugins['io.containerd.grpc.v1.cri'];
    for (const service of module.services) {
      this.#grpc.add(service);
      const isHidden = disable_tcp_service && service.type.typeName.startsWith(CRI_PACKAGE);
      if (!isHidden) this.#tcpGrpc?.add(service);
      this.#core.services.set(service.type.typeName, service);
    }
  }

  /** The services that tell about the daemon itself. */
  #describe(): DaemonModule {
    const plugins = (): Plugin[] => this.#modules.flatMap((module) => module.plugins);
    const reflection = reflectionService(() => this.#core.services.keys());
    const identity = readIdentity(this.#core.config.root);
    return {
      plugins: ['healthcheck', 'introspection', 'version'].map((id) => ({
        type: 'io.containerd.grpc.v1',
        id,
      })),
      services: [
        grpcService(Health, healthService()),
        grpcService(Introspection, introspectionService(plugins, identity)),
        grpcService(Version, versionService(VERSION, REVISION)),
        grpcService(Reflection, reflection),
        grpcService(ReflectionV1alpha, { ...reflection }),
      ],
    };
  }

  /** What the daemon waits for at the moment, a line each. */
  waits(): string[] {
    const calls = [this.#grpc, this.#tcpGrpc]
      .flatMap((server) => server?.runningCalls() ?? [])
      .map(({ path, ageMs }) => `call ${path} for ${Math.round(ageMs)} ms`);
    return [...calls, ...this.#modules.flatMap((module) => module.waits?.() ?? [])];
  }

  /** Stops accepting, lets running calls end, closes modules in reverse order. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#memory[Symbol.dispose]();
    for (const socket of this.#sockets) socket.close();
    for (const server of this.#httpServers) {
      server.close();
      server.closeAllConnections();
    }
    await Promise.all(
      [this.#grpc, this.#tcpGrpc].map((server) =>
        server?.close(SHUTDOWN_DRAIN_MS, SHUTDOWN_GRACE_MS),
      ),
    );
    for (const module of this.#modules.toReversed()) await module.close?.();
    this.#ttrpc.close(); // last: until now shims could report what the modules ended
    closeCore(this.#core);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Most failures are answers to the client and nothing else; these are our own or the disk's. */
const OUR_FAILURES: ReadonlySet<ErrorKind> = new Set(['Unknown', 'Internal', 'DataLoss']);

function logFailure(log: Logger, path: string, thrown: unknown): void {
  const error = TsError.from(thrown);
  if (OUR_FAILURES.has(error.kind)) log.error({ path, error: thrown }, 'call failed');
  else log.debug({ path, kind: error.kind, reason: error.text }, 'call refused');
}
