/**
 * {@link RuntimeClient} that runs tsrunc's own code in the shim: no program is started, a container
 * is one clone of this process. What it says, fails with and leaves is what tsrunc does; what could
 * hold up the event loop is left to the program.
 */
import { closeSync, openSync } from 'node:fs';
import { errorText } from '../errors/error-text.ts';
import { TsError } from '../errors/index.ts';
import * as runtime from '../runtime/index.ts';
import { MountTable } from './mount-table.ts';
import type { OperationRunner } from './operation-runner.ts';
import type {
  RuntimeCheckpointOptions,
  RuntimeClient,
  RuntimeCreateOptions,
  RuntimeExecOptions,
  RuntimeStdio,
} from './runtime-client.ts';
import { failedCommand } from './runtime-log.ts';
import type { RuntimeProcess } from './runtime-process.ts';

export interface InProcessOptions {
  /** The state directory. */
  readonly root: string;
  readonly systemdCgroup: boolean;
  readonly runner: OperationRunner;
  /** Does what would block here; its state directory is the same. */
  readonly program: RuntimeProcess;
  /** Whether a create is such a thing, or a checkpoint: its file systems may not answer. */
  readonly createsByProgram: boolean;
}

export class RuntimeInProcess implements RuntimeClient {
  readonly #root: string;
  readonly #systemdCgroup: boolean;
  readonly #runner: OperationRunner;
  readonly #program: RuntimeProcess;
  readonly #createsByProgram: boolean;

  constructor({ root, systemdCgroup, runner, program, createsByProgram }: InProcessOptions) {
    this.#root = root;
    this.#systemdCgroup = systemdCgroup;
    this.#runner = runner;
    this.#program = program;
    this.#createsByProgram = createsByProgram;
  }

  async create(id: string, options: RuntimeCreateOptions): Promise<number> {
    const { restoreFrom } = options;
    if (this.#createsByProgram) return this.#program.create(id, options);
    if (restoreFrom !== undefined) {
      if (imagesMayHang(restoreFrom)) return this.#program.create(id, options);
      return this.#restore(id, options, restoreFrom);
    }
    const body = (own: runtime.RuntimeOptions) =>
      withStreams(options.stdio, (streams) =>
        runtime.createContainer(own, {
          id,
          bundle: options.bundle,
          pidFile: options.pidFile,
          noPivot: options.noPivotRoot,
          noNewKeyring: options.noNewKeyring,
          ...streams,
        }),
      );
    return this.#run('create', body, options.signal);
  }

  async #restore(
    id: string,
    { bundle, pidFile, stdio, signal }: RuntimeCreateOptions,
    images: ImageDirectories,
  ): Promise<number> {
    const body = (own: runtime.RuntimeOptions) =>
      withStreams(stdio, (streams) =>
        runtime.restoreDetached(own, { id, bundle, pidFile, ...images, ...streams }),
      );
    return this.#run('restore', body, signal);
  }

  async start(id: string): Promise<void> {
    await this.#run('start', (own) => runtime.startContainer(own, id));
  }

  async exec(id: string, options: RuntimeExecOptions): Promise<number> {
    const body = (own: runtime.RuntimeOptions) =>
      withStreams(options.stdio, (streams) =>
        runtime.startExec(own, {
          id,
          args: [],
          detach: true,
          processFile: `${options.pidFile}.json`,
          processText: options.processSpec,
          ...streams,
        }),
      );
    return this.#run('exec', body, options.signal);
  }

  async kill(id: string, signal: number, { all = false }: { all?: boolean } = {}): Promise<void> {
    await this.#run('kill', (own) => runtime.killContainer(own, id, String(signal), all));
  }

  async delete(id: string, { force = false }: { force?: boolean } = {}): Promise<void> {
    await this.#run('delete', (own) => runtime.deleteContainer(own, id, force));
  }

  async pause(id: string): Promise<void> {
    await this.#run('pause', (own) => runtime.pauseContainer(own, id));
  }

  async resume(id: string): Promise<void> {
    await this.#run('resume', (own) => runtime.resumeContainer(own, id));
  }

  async update(id: string, resources: string): Promise<void> {
    await this.#run('update', async (own) =>
      runtime.updateContainer(own, id, await runtime.resourcesOfText(resources)),
    );
  }

  async processes(id: string): Promise<number[]> {
    return this.#run('ps', (own) => runtime.containerPids(own, id));
  }

  async checkpoint(id: string, options: RuntimeCheckpointOptions): Promise<void> {
    if (this.#createsByProgram || imagesMayHang(options)) {
      await this.#program.checkpoint(id, options);
      return;
    }
    const { imagePath, workPath, parentPath, leaveRunning, fileLocks } = options;
    await this.#run('checkpoint', (own) =>
      runtime.checkpointContainer(own, {
        id,
        imagePath,
        workPath,
        ...(parentPath === '' ? {} : { parentPath }),
        leaveRunning,
        fileLocks,
        tcpEstablished: options.openTcp,
        extUnixSk: options.externalUnixSockets,
        shellJob: options.terminal,
        emptyNs: options.emptyNamespaces,
        manageCgroupsMode: options.cgroupsMode,
      }),
    );
  }

  features(): Promise<string | undefined> {
    return this.#program.features();
  }

  /** A failure, whatever it is, reads as if the program had ended with it. */
  async #run<T>(
    command: string,
    body: (options: runtime.RuntimeOptions) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    try {
      return await body({
        root: this.#root,
        rootless: false,
        systemdCgroup: this.#systemdCgroup,
        debug: () => {},
        perform: (operation) => this.#runner.run(operation, signal),
      });
    } catch (thrown) {
      throw failedCommand(command, errorText(TsError.from(thrown)), null);
    }
  }
}

interface ImageDirectories {
  readonly imagePath: string;
  readonly workPath: string;
}

function imagesMayHang({ imagePath, workPath }: ImageDirectories): boolean {
  const mounts = new MountTable();
  return mounts.mayHang(imagePath) || mounts.mayHang(workPath);
}

type Streams = Pick<runtime.CreateRequest, 'stdio' | 'consoleSocket'>;

/** Gives a process its streams: those that lead nowhere are the host's /dev/null. */
async function withStreams<T>(
  stdio: RuntimeStdio,
  body: (streams: Streams) => Promise<T>,
): Promise<T> {
  const nothing = openSync('/dev/null', 'r+');
  try {
    if ('consoleSocket' in stdio) {
      const { consoleSocket } = stdio;
      return await body({ consoleSocket, stdio: [nothing, nothing, nothing] });
    }
    const { stdin = nothing, stdout = nothing, stderr = nothing } = stdio;
    return await body({ stdio: [stdin, stdout, stderr] });
  } finally {
    closeSync(nothing);
  }
}
