import type { StreamUrls } from '../../cri/runtime-service.ts';
import type { StreamServer, StreamServerOptions } from '../../streaming/stream-server.ts';

/** Where streams are served, by a server that is loaded when somebody first asks: its protocols are no part of a start. */
export class StreamsOnDemand implements StreamUrls {
  readonly #options: StreamServerOptions;
  #server: Promise<StreamServer> | undefined;

  constructor(options: StreamServerOptions) {
    this.#options = options;
  }

  async command(...request: Parameters<StreamServer['command']>): Promise<string> {
    return await (await this.#load()).command(...request);
  }

  async portForward(...request: Parameters<StreamServer['portForward']>): Promise<string> {
    return await (await this.#load()).portForward(...request);
  }

  async close(): Promise<void> {
    await (await this.#server)?.close();
  }

  #load(): Promise<StreamServer> {
    this.#server ??= import('../../streaming/stream-server.ts').then(
      ({ StreamServer }) => new StreamServer(this.#options),
    );
    return this.#server;
  }
}
