/**
 * Channels over a WebSocket (Kubernetes' `channel.k8s.io` protocols): the first byte of each message is the number of its
 * channel; the base64 forms have a digit and base64 text instead. Before version 5 a client could end its input only by
 * closing the whole socket, and then never saw what the command answered (KEP-4006).
 */
import { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';

/** Version 5: a message of this channel names another one that the client will not write to any more. */
const CLOSE_CHANNEL = 255;
const PROTOCOL_WITH_CLOSE = 'v5.channel.k8s.io';

/** Protocols for forwarding ports by channels, the best first. */
export const WEBSOCKET_PORT_PROTOCOLS: readonly string[] = [
  'v4.channel.k8s.io',
  'v4.base64.channel.k8s.io',
  'channel.k8s.io',
  'base64.channel.k8s.io',
];

/** Protocols for exec and attach, the best first. */
export const WEBSOCKET_COMMAND_PROTOCOLS: readonly string[] = [
  PROTOCOL_WITH_CLOSE,
  ...WEBSOCKET_PORT_PROTOCOLS,
];

/** One channel: what the client sends is read, what is written goes to the client. */
export class WebSocketChannel extends Duplex {
  readonly #send: (data: Uint8Array) => Promise<void>;
  #resume: (() => void) | undefined;
  #isEnded = false;

  constructor(send: (data: Uint8Array) => Promise<void>) {
    super({ allowHalfOpen: true });
    this.#send = send;
    this.on('error', () => undefined); // told by the socket
  }

  receive(data: Buffer, pause: () => () => void): void {
    if (this.destroyed || this.#isEnded || this.push(data)) return;
    this.#resume = pause();
  }

  /** The client writes no more; what is written still goes to it. */
  receiveEnd(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.push(null);
  }

  override _read(): void {
    this.#resume?.();
    this.#resume = undefined;
  }

  override _write(
    chunk: Buffer,
    _encoding: BufferEncoding,
    done: (error?: Error | null) => void,
  ): void {
    this.#send(chunk).then(() => done(), done);
  }
}

/** The channels of one socket. */
export class WebSocketChannels {
  readonly #socket: WebSocket;
  readonly #isBase64: boolean;
  readonly #sent: () => void;
  readonly #channels = new Map<number, WebSocketChannel>();
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>;

  /** `sent` is called for each message that leaves. */
  constructor(socket: WebSocket, numbers: readonly number[], sent: () => void) {
    this.#socket = socket;
    this.#sent = sent;
    this.#isBase64 = socket.protocol.includes('base64');
    for (const number of numbers) {
      this.#channels.set(number, new WebSocketChannel((data) => this.#send(number, data)));
    }
    socket.on('message', (message: Buffer) => this.#take(message));
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        for (const channel of this.#channels.values()) {
          channel.receiveEnd();
          channel.destroy();
        }
        resolve();
      });
    });
    socket.on('error', () => socket.terminate()); // a malformed frame: `close` follows
  }

  get(number: number): WebSocketChannel | undefined {
    return this.#channels.get(number);
  }

  /** An empty message of a channel tells the client that the server is there. */
  async announce(number: number): Promise<void> {
    await this.#send(number, new Uint8Array(0));
  }

  #take(message: Buffer): void {
    if (message.length === 0) return;
    const first = message.readUInt8(0);
    const number = this.#isBase64 ? first - 0x30 : first;
    const rest = message.subarray(1);
    if (number === CLOSE_CHANNEL && this.#socket.protocol === PROTOCOL_WITH_CLOSE) {
      if (rest.length === 1) this.#channels.get(rest.readUInt8(0))?.receiveEnd();
      return;
    }
    const data = this.#isBase64 ? Buffer.from(rest.toString('latin1'), 'base64') : rest;
    this.#channels.get(number)?.receive(data, () => {
      this.#socket.pause();
      return () => this.#socket.resume();
    });
  }

  #send(number: number, data: Uint8Array): Promise<void> {
    const message = this.#isBase64
      ? `${number}${Buffer.from(data).toString('base64')}`
      : Buffer.concat([Buffer.from([number]), data]);
    this.#sent();
    return new Promise((resolve, reject) => {
      this.#socket.send(message, (error) => (error ? reject(error) : resolve()));
    });
  }

  close(): void {
    this.#socket.close(1000);
  }
}
