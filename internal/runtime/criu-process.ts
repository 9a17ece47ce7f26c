/**
 * `criu swrk FD`: one CRIU process that serves one request over a socket pair of this process
 * (criu.org/RPC). CRIU asks back while it works (notifications), and each question waits for an answer.
 */
import { accessSync, constants, writeSync } from 'node:fs';
import { type Features, Request, RequestType, Response } from '../api/generated/criu.ts';
import { TsError } from '../errors/index.ts';
import {
  type Operation,
  type OwnedFd,
  Pipe,
  readable,
  receiveFds,
  SyscallProgram,
  socketPair,
  steps,
} from '../linux/index.ts';
import { OwnChild } from './child.ts';
import type { Stdio } from './process-steps.ts';

/** What CRIU tells on its way, and waits for; the descriptors are closed when the operation is done. */
export type OnNotification = (
  script: string,
  pid: number,
  fds: readonly OwnedFd[],
) => Operation<void>;

export interface CriuOptions {
  /** Close-on-exec descriptors of this process that CRIU gets, under their own numbers. */
  readonly inherited?: readonly number[];
  /** What restored processes find as the stdio that they had. */
  readonly stdio?: Stdio;
}

const GREATEST_MESSAGE_BYTES = 64 * 1024;

/** The answer to a request that CRIU could not fulfil. */
export interface CriuRefusal {
  readonly errno: number;
  readonly text: string;
}

export class CriuProcess {
  readonly #socket: OwnedFd;
  readonly #child: OwnChild;

  private constructor(socket: OwnedFd, child: OwnChild) {
    this.#socket = socket;
    this.#child = child;
  }

  /** Starts one for `body`, which it does not outlive. Throws NotFound when there is no CRIU on this machine. */
  static *use<T>(options: CriuOptions, body: (criu: CriuProcess) => Operation<T>): Operation<T> {
    const path = findCriu(process.env['PATH'] ?? '');
    const [near, far] = socketPair('seqpacket');
    using socket = near;
    let child: OwnChild | undefined;
    try {
      try {
        child = yield* spawn(path, far.number, options);
      } finally {
        far.close(); // once CRIU has ended this end is at its end too
      }
      return yield* body(new CriuProcess(socket, child));
    } finally {
      socket.close();
      if (child !== undefined) yield* child.end();
    }
  }

  /** Its pid, as that of a child of this process. */
  get pid(): number {
    return this.#child.pid;
  }

  /**
   * Sends the request and answers questions until it is served. A refusal is returned; what
   * `onNotification` throws makes CRIU give up and is thrown then.
   */
  *request(
    request: Parameters<typeof Request.encode>[0],
    onNotification?: OnNotification,
  ): Operation<Response | CriuRefusal> {
    this.#send(request);
    let thrown: { readonly error: unknown } | undefined;
    for (;;) {
      yield* readable(this.#socket.number);
      const message = receiveFds(this.#socket.number, GREATEST_MESSAGE_BYTES);
      try {
        if (message.data.length === 0) {
          if (thrown !== undefined) throw thrown.error;
          throw new TsError('Unknown', 'criu died', { code: 'TS_CRIU_DIED' });
        }
        const response = Response.decode(message.data);
        if (response.type !== RequestType.NOTIFY) {
          if (thrown !== undefined) throw thrown.error;
          if (response.success) return response;
          return { errno: response.crErrno, text: response.crErrmsg };
        }
        const { script = '', pid = 0 } = response.notify ?? {};
        try {
          if (onNotification !== undefined) yield* onNotification(script, pid, message.fds);
        } catch (error) {
          thrown ??= { error };
        }
      } finally {
        for (const fd of message.fds) fd.close();
      }
      this.#send({ type: RequestType.NOTIFY, notifySuccess: thrown === undefined });
    }
  }

  #send(request: Parameters<typeof Request.encode>[0]): void {
    try {
      writeSync(this.#socket.number, Request.encode(request));
    } catch (thrown) {
      throw TsError.from(thrown, 'send a request to criu');
    }
  }

  /** Waits for its end, which follows the last answer. Returns the exit code. */
  *finish(): Operation<number> {
    this.#socket.close();
    return (yield* this.#child.exit())?.exitCode ?? 0;
  }
}

function ask(request: Parameters<typeof Request.encode>[0]): Operation<Response | CriuRefusal> {
  return CriuProcess.use({}, (criu) => criu.request(request));
}

/** Throws FailedPrecondition unless CRIU and the kernel can do what `features` names. */
export function* requireFeatures(
  features: {
    [Name in keyof Features]?: true;
  },
): Operation<void> {
  const answer = yield* ask({ type: RequestType.FEATURE_CHECK, features });
  const has = 'success' in answer ? answer.features : undefined;
  const names = Object.keys(features) as (keyof Features)[];
  const missing = names.filter((name) => has?.[name] !== true);
  if (missing.length === 0) return;
  throw new TsError('FailedPrecondition', `criu is missing features: ${missing.join(', ')}`, {
    code: 'TS_CRIU_FEATURE_MISSING',
    advice: 'look at "criu check --all" for what this kernel lacks',
  });
}

const OLDEST_VERSION = 31_600;

/** Throws FailedPrecondition for a CRIU before 3.16, which lacks options that are used here. */
export function* requireVersion(): Operation<void> {
  const answer = yield* ask({ type: RequestType.VERSION });
  if (!('success' in answer) || answer.version === undefined) {
    throw new TsError('FailedPrecondition', 'criu does not tell its version');
  }
  const { majorNumber, minorNumber, sublevel } = answer.version;
  const version = majorNumber * 10_000 + minorNumber * 100 + sublevel;
  if (version >= OLDEST_VERSION) return;
  throw new TsError(
    'FailedPrecondition',
    `CRIU version ${version} must be ${OLDEST_VERSION} or higher`,
    { code: 'TS_CRIU_TOO_OLD', advice: 'install a newer CRIU' },
  );
}

/** Only directories that are named absolutely count: not the working directory. */
function findCriu(path: string): string {
  const candidates = path.split(':').filter((each) => each.startsWith('/'));
  for (const directory of [...candidates, '/usr/local/sbin', '/usr/sbin']) {
    const file = `${directory}/criu`;
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // not in this one
    }
  }
  throw new TsError('NotFound', 'exec: "criu": executable file not found in $PATH', {
    code: 'TS_CRIU_MISSING',
    advice: 'install CRIU 3.16 or newer (the package criu of most distributions)',
  });
}

/** What Node reads from the environment is none of CRIU's business, nor of the scripts that it may run. */
function environment(): string[] {
  return Object.entries(process.env)
    .filter(([name, value]) => !name.startsWith('NODE_') && value !== undefined)
    .map(([name, value]) => `${name}=${value}`);
}

function* spawn(path: string, socket: number, options: CriuOptions): Operation<OwnChild> {
  const { inherited = [], stdio } = options;
  const program = new SyscallProgram();
  using report = new Pipe();
  const step = steps.cloneProcess({});
  const label = `exec ${path}`;
  const child = program.main.clone(
    step,
    { reportTo: report.writeEnd.number, as: 'criu' },
    (criu) => {
      criu.addAll(steps.resetSignals());
      criu.add(steps.closeFrom(3, 'on exec'));
      stdio?.forEach((fd, target) => {
        if (fd !== target) criu.add(steps.duplicate(fd, target));
        else criu.add(steps.setCloseOnExec(target, false));
      });
      for (const fd of [socket, ...inherited]) criu.add(steps.setCloseOnExec(fd, false));
      const argv = steps.stringArray(['criu', 'swrk', String(socket)]);
      criu.add(steps.execute(path, argv, steps.stringArray(environment())), { label });
    },
  );
  using run = program.run();
  report.writeEnd.close();
  const criu = yield* OwnChild.adopt(run.value(child));
  try {
    yield* readable(report.readEnd.number);
    program.readReport(report.readEnd.number); // at its end when CRIU is executed
    return criu;
  } catch (thrown) {
    yield* criu.end();
    throw thrown;
  }
}
