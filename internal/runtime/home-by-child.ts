/**
 * HOME for a process that is made by somebody who must not wait: its own child looks into the
 * container's /etc/passwd. Attack: the container's file system is one that never answers; only that
 * child hangs, until the operation is given up.
 */
import { writeSync } from 'node:fs';
import {
  type Announcement,
  check,
  Memory,
  type Operation,
  Pipe,
  Result,
  readable,
  readNow,
  type Sequence,
  steps,
  type Value,
} from '../linux/index.ts';
import type { Process } from '../oci/index.ts';
import { findHome, GREATEST_PASSWD_BYTES, hasHome, PASSWD } from './home-directory.ts';
import { openStep } from './in-root.ts';

/** Of the variable, with its NUL: what one write to a pipe passes on as a whole (man 7 pipe, PIPE_BUF). */
const VARIABLE_BYTES = 4096;

/**
 * The question of a child for its HOME: it sends the passwd file of its root, and is told the
 * variable, which becomes the last of its environment.
 */
export class HomeByChild implements Disposable {
  /** What is to be put into the environment's array. */
  readonly variable = new Memory(VARIABLE_BYTES, () => '"HOME=…"');
  readonly #content = new Pipe();
  readonly #uid: number;
  #due: Announcement | undefined;

  /** Undefined for a process that has a HOME. */
  static of(process: Process): HomeByChild | undefined {
    return hasHome(process) ? undefined : new HomeByChild(process.user.uid);
  }

  private constructor(uid: number) {
    this.#uid = uid;
  }

  /** The child's end of the pipe. */
  get fd(): number {
    return this.#content.writeEnd.number;
  }

  /** What the child does, with the root that it has now, before it becomes the user. */
  addTo(child: Sequence, root: Value, { report, goOn }: { report: number; goOn: number }): void {
    // First: a file that does not fit into the pipe has to be read meanwhile.
    this.#due = child.announce('home due', report);
    const flags = ['O_RDONLY', 'O_NONBLOCK', 'O_NOCTTY'] as const;
    const file = new Result('passwd');
    child.add(openStep(root, PASSWD, flags), {
      into: file.field,
      tolerate: 'any', // without such a file home is /
      ifSucceeded: (there) => {
        // A fifo or device in its place is nothing to read.
        there.add(steps.sendFile(this.fd, file, GREATEST_PASSWD_BYTES), { tolerate: 'any' });
        there.add(steps.close(file));
      },
    });
    child.add(steps.close(this.fd));
    const label = 'wait for the runtime: HOME';
    const length = child.add(steps.read(goOn, this.variable), { label, retryOn: 'EINTR' });
    child.add(check(label, length, { equals: VARIABLE_BYTES, errno: 'EPIPE' }));
  }

  /** To be called when the child has been cloned: then the file ends where the child closes it. */
  release(): void {
    this.#content.writeEnd.close();
  }

  /** Whether this is the question. */
  isDue(announcement: Announcement): boolean {
    return announcement === this.#due;
  }

  /** Answers it on the pipe on which the runtime says: go on. */
  *answer(goOn: number): Operation<void> {
    const home = findHome(yield* readToEnd(this.#content.readEnd.number), this.#uid) ?? '/';
    const message = Buffer.alloc(VARIABLE_BYTES);
    const text = `HOME=${home}`;
    message.write(Buffer.byteLength(text) < VARIABLE_BYTES ? text : 'HOME=/');
    writeSync(goOn, message);
  }

  [Symbol.dispose](): void {
    this.#content[Symbol.dispose]();
  }
}

function* readToEnd(fd: number): Operation<string> {
  const chunks: Buffer[] = [];
  for (;;) {
    yield* readable(fd);
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    const read = readNow(fd, chunk);
    if (!('bytes' in read) || read.bytes === 0) return Buffer.concat(chunks).toString();
    chunks.push(chunk.subarray(0, read.bytes));
  }
}

const CHUNK_BYTES = 4 * 1024;
