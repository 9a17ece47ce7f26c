import { OpenFlag } from './constants/file.ts';
import { combine } from './constants/flags.ts';
import { OwnedFd } from './fd.ts';
import { syscall } from './syscall.ts';

/** Both ends of a pipe, close-on-exec. */
export class Pipe implements Disposable {
  readonly readEnd: OwnedFd;
  readonly writeEnd: OwnedFd;

  constructor(options: { nonBlocking?: boolean } = {}) {
    const fds = new Int32Array(2);
    const flags = combine(
      OpenFlag,
      options.nonBlocking ? ['O_CLOEXEC', 'O_NONBLOCK'] : ['O_CLOEXEC'],
    );
    syscall(() => 'create pipe', 'pipe2', new Uint8Array(fds.buffer), flags);
    this.readEnd = new OwnedFd(fds[0] ?? -1);
    this.writeEnd = new OwnedFd(fds[1] ?? -1);
  }

  [Symbol.dispose](): void {
    this.readEnd.close();
    this.writeEnd.close();
  }
}
