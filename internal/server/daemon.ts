import type { Server } from 'node:net';
import { Introspection } from '../api/generated/containerd.services.introspection.v1.ts';
import { Version } from '../api/generated/containerd.services.version.v1.ts';
import { Health } from '../api/generated/grpc.health.v1.ts';
import type { Logger } from '../log/index.ts';
import { grpcService } from '../services/context.ts';
import { healthService } from '../services/health.ts';
import { introspectionService } from '../services/introspection.ts';
import type { Plugin } from '../services/plugin.ts';
import { versionService } from '../services/version.ts';
import type { Config } from './config.ts';
import { type Core, openCore } from './core.ts';
import { GrpcServer } from './grpc-server.ts';
import { readIdentity } from './identity.ts';
import type { DaemonModule } from './module.ts';
import { MODULES } from './modules/index.ts';
import { listenUnix } from './socket.ts';
import { REVISION, VERSION } from './version.ts';

/** How long running calls may go on when the daemon stops. */
const SHUTDOWN_GRACE_MS = 5000;

/** The daemon: stores, modules and the sockets they are served on. */
export class Daemon implements AsyncDisposable {
  readonly #core: Core;
  readonly #grpc: GrpcServer;
  readonly #modules: DaemonModule[] = [];
  #socket: Server | undefined;

  private constructor(core: Core) {
    this.#core = core;
    this.#grpc = new GrpcServer({
      maxReceiveBytes: core.config.grpc.maxReceiveMessageBytes,
      maxSendBytes: core.config.grpc.maxSendMessageBytes,
      onError: (path, error) => core.log.debug({ path, error }, 'call failed'),
    });
  }

  /** Opens everything and accepts connections; what was opened is closed again if that fails. */
  static async start(config: Config, log: Logger): Promise<Daemon> {
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
    this.#socket = await listenUnix(config.grpc.address, config.grpc, (connection) =>
      this.#grpc.accept(connection),
    );
  }

  #add(module: DaemonModule): void {
    this.#modules.push(module);
    for (const service of module.services) this.#grpc.add(service);
  }

  /** The services that tell about the daemon itself. */
  #describe(): DaemonModule {
    const plugins = (): Plugin[] => this.#modules.flatMap((module) => module.plugins);
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
      ],
    };
  }

  /** What the daemon waits for at the moment, a line each. */
  waits(): string[] {
    const calls = this.#grpc
      .runningCalls()
      .map(({ path, ageMs }) => `call ${path} for ${Math.round(ageMs)} ms`);
    return [...calls, ...this.#modules.flatMap((module) => module.waits?.() ?? [])];
  }

  /** Stops accepting, lets running calls end, closes modules in reverse order. */
  async close(): Promise<void> {
    this.#socket?.close();
    await this.#grpc.close(SHUTDOWN_GRACE_MS);
    for (const module of this.#modules.reverse()) await module.close?.();
    this.#core.database.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
