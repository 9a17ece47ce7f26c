import { fchownSync } from 'node:fs';
import type { Logger } from './logger.ts';
import type { ProcessIo, StdioOwner } from './process-io.ts';
import type { ChildStdio } from './runtime-client.ts';

/** Output that goes straight from the process to a logging program; no input. */
export class LoggerIo implements ProcessIo {
  readonly runtimeStdio: ChildStdio;
  readonly logs = [];
  readonly #logger: Logger;

  constructor(logger: Logger, owner: StdioOwner) {
    this.#logger = logger;
    const stdout = logger.stdout.writeEnd.number;
    const stderr = logger.stderr.writeEnd.number;
    for (const fd of [stdout, stderr]) fchownSync(fd, owner.uid, owner.gid);
    this.runtimeStdio = { stdout, stderr };
  }

  async attach(): Promise<void> {
    this.#logger.stdout.writeEnd.close();
    this.#logger.stderr.writeEnd.close();
  }

  closeStdin(): void {
    // there is no input
  }

  resize(): void {
    // a pipe has no size
  }

  async flush(): Promise<void> {
    // nothing passes through the shim
  }

  detach(): void {
    // the logger has its own end
  }

  async close(): Promise<void> {
    await this.#logger.close();
  }
}
