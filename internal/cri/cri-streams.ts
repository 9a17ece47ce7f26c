import { randomBytes } from 'node:crypto';
import { closeSync, constants, mkdirSync, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex, Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { TsError } from '../errors/index.ts';
import { connectInNamespace } from '../linux/connect-in-namespace.ts';
import { makeFifo } from '../linux/fifo.ts';
import {
  type CommandRequest,
  ExitError,
  type ProcessStreams,
  type StreamingBackend,
} from '../streaming/streaming-backend.ts';
import type { Container } from './container.ts';
import { stdinPath } from './container-io.ts';
import type { Cri } from './cri.ts';
import { execProcess } from './exec-sync.ts';
import { unlessGone } from './undo.ts';
import { requireRunning } from './while-running.ts';

const SIGKILL = 9;
/** How long output is waited for after a process has ended: a child of it may hold the FIFO open. */
const DRAIN_MS = 2000;

/** Connects the streams of Exec, Attach and PortForward with processes and ports of pods. */
export class CriStreams implements StreamingBackend {
  readonly #cri: Cri;

  constructor(cri: Cri) {
    this.#cri = cri;
  }

  async exec(request: CommandRequest, streams: ProcessStreams, signal: AbortSignal): Promise<void> {
    const { services, settings } = this.#cri;
    const container = this.#running(request.containerId);
    const execId = randomBytes(16).toString('hex');
    const directory = join(settings.stateDir, 'exec');
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const path = (name: string, isWanted: boolean): string => {
      if (!isWanted) return '';
      const fifo = join(directory, `${execId}-${name}`);
      makeFifo(fifo, 0o600);
      return fifo;
    };
    const spec = await execProcess(services, container.id, request.cmd, request.tty);
    const stdin = path('stdin', streams.stdin !== undefined);
    const stdout = path('stdout', streams.stdout !== undefined);
    const stderr = path('stderr', streams.stderr !== undefined);
    const id = { containerId: container.id, execId };
    try {
      const outputs = [copyOut(stdout, streams.stdout), copyOut(stderr, streams.stderr)];
      await services.tasks.exec({ ...id, spec, stdin, stdout, stderr, terminal: request.tty });
      try {
        const exited = services.tasks.wait(id);
        exited.catch(() => undefined); // a start that fails is told by the start
        await services.tasks.start(id);
        const kill = (): void => {
          services.tasks.kill({ ...id, signal: SIGKILL, all: false }).catch(() => undefined); // it has ended
        };
        // A command whose client has gone would run on unseen.
        signal.addEventListener('abort', kill, { once: true });
        if (signal.aborted) kill();
        this.#resize(id, streams);
        copyIn(stdin, streams.stdin, () => services.tasks.closeIO({ ...id, stdin: true }));
        const { exitStatus } = await exited;
        await within(Promise.all(outputs), DRAIN_MS);
        signal.removeEventListener('abort', kill);
        if (exitStatus !== 0) throw new ExitError(exitStatus);
      } finally {
        await unlessGone(services.tasks.deleteProcess(id));
      }
    } finally {
      for (const fifo of [stdin, stdout, stderr]) if (fifo !== '') rmSync(fifo, { force: true });
    }
  }

  async attach(
    request: CommandRequest,
    streams: ProcessStreams,
    signal: AbortSignal,
  ): Promise<void> {
    const { services, settings } = this.#cri;
    const container = this.#running(request.containerId);
    const { config, id } = container;
    this.#resize({ containerId: id, execId: '' }, streams);
    const left = new AbortController();
    const stop = (): void => left.abort();
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    const wanted = {
      stdout: streams.stdout !== undefined,
      stderr: streams.stderr !== undefined && !config.tty,
    };
    const isAttached = Promise.withResolvers<void>();
    const copying = (async () => {
      if (!wanted.stdout && !wanted.stderr) return isAttached.resolve();
      for await (const { stream, data } of services.logs.attach(
        id,
        wanted,
        left.signal,
        isAttached.resolve,
      )) {
        await writeTo(stream === 'stdout' ? streams.stdout : streams.stderr, data);
      }
    })();
    copying.catch(isAttached.reject);
    await isAttached.promise;
    if (config.stdin) {
      copyIn(stdinPath(settings, id), streams.stdin, async () => {
        if (config.stdinOnce && !config.tty)
          await services.tasks.closeIO({ containerId: id, stdin: true });
      });
    }
    const gone = new Promise<void>((resolve) => {
      left.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([container.ended, gone]);
    await within(copying, DRAIN_MS);
    stop();
  }

  async portForward(
    podSandboxId: string,
    port: number,
    stream: Duplex,
    signal: AbortSignal,
  ): Promise<void> {
    const sandbox = this.#cri.sandboxes.get(podSandboxId);
    if (!sandbox.isReady)
      throw new TsError('FailedPrecondition', `sandbox ${sandbox.id}: not ready`);
    const namespace = sandbox.state.netns === '' ? '/proc/self/ns/net' : sandbox.state.netns;
    const fd = connectInNamespace(namespace, port);
    const socket = new Socket({
      fd: fd.release(),
      readable: true,
      writable: true,
      allowHalfOpen: true,
    });
    const close = (): void => void socket.destroy();
    signal.addEventListener('abort', close, { once: true });
    stream.once('close', close);
    socket.pipe(stream, { end: true });
    stream.pipe(socket, { end: true });
    try {
      await finished(socket);
    } catch (thrown) {
      if (!signal.aborted && !stream.destroyed) throw thrown;
    } finally {
      signal.removeEventListener('abort', close);
      socket.destroy();
    }
  }

  #running(id: string): Container {
    const container = this.#cri.containers.get(id);
    requireRunning(container);
    return container;
  }

  #resize(id: { containerId: string; execId: string }, streams: ProcessStreams): void {
    const { services, log } = this.#cri;
    streams.onResize((size) => {
      services.tasks.resizePty({ ...id, ...size }).catch((thrown: unknown) => {
        log.debug({ error: thrown, ...id }, 'resize terminal'); // most often the process has ended
      });
    });
  }
}

/** Copies a FIFO, which is opened before its writer opens it, to a client; resolves at its end. */
function copyOut(fifo: string, to: Writable | undefined): Promise<void> {
  if (fifo === '' || to === undefined) return Promise.resolve();
  const from = new Socket({
    fd: openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK),
    readable: true,
    writable: false,
  });
  from.pipe(to, { end: false });
  to.once('close', () => from.destroy());
  return new Promise((resolve) => from.once('close', () => resolve()));
}

/** Copies a client's input into a FIFO; `onEnd` runs when the client has closed its side. */
function copyIn(fifo: string, from: Readable | undefined, onEnd: () => Promise<unknown>): void {
  if (fifo === '' || from === undefined) return;
  // Read and write: opening it neither fails nor waits when the reader is not there yet.
  const fd = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
  let to: Socket;
  try {
    to = new Socket({ fd, readable: false, writable: true });
  } catch (thrown) {
    closeSync(fd);
    throw thrown;
  }
  const end = (): void => {
    to.end(() => {
      to.destroy();
      onEnd().catch(() => undefined); // the process has ended
    });
  };
  to.on('error', () => to.destroy()); // the process has ended: nobody reads
  from.once('end', end);
  from.once('close', () => to.destroy());
  from.pipe(to, { end: false });
}

function writeTo(to: Writable | undefined, data: Uint8Array): Promise<void> {
  if (to === undefined || to.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      to.off('close', done);
      resolve();
    };
    to.once('close', done);
    to.write(data, done);
  });
}

async function within(promise: Promise<unknown>, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  try {
    await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
