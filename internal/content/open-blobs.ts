import type { FileHandle } from 'node:fs/promises';
import type { Digest } from './content-store.ts';

/** How long a blob that was read stays open for the next reader. */
const IDLE_MS = 1000;

interface OpenBlob {
  readonly handle: Promise<FileHandle>;
  readers: number;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Open files of blobs that are being read. Clients read a large blob in thousands of calls of
 * 32 KiB each: opening the file anew would cost more than reading.
 */
export class OpenBlobs {
  readonly #open: (digest: Digest) => Promise<FileHandle>;
  readonly #blobs = new Map<Digest, OpenBlob>();

  constructor(open: (digest: Digest) => Promise<FileHandle>) {
    this.#open = open;
  }

  /** The open file, for as long as the result is not disposed. */
  async acquire(digest: Digest): Promise<Disposable & { readonly handle: FileHandle }> {
    let blob = this.#blobs.get(digest);
    if (blob === undefined) {
      blob = { handle: this.#open(digest), readers: 0, timer: undefined };
      this.#blobs.set(digest, blob);
    }
    blob.readers++;
    clearTimeout(blob.timer);
    const opened = blob;
    const release = (): void => this.#release(digest, opened);
    try {
      return { handle: await opened.handle, [Symbol.dispose]: release };
    } catch (error) {
      if (this.#blobs.get(digest) === opened) this.#blobs.delete(digest);
      throw error;
    }
  }

  /** Lets go of a blob that is deleted; who reads it now reads on. */
  forget(digest: Digest): void {
    const blob = this.#blobs.get(digest);
    if (blob === undefined) return;
    this.#blobs.delete(digest);
    if (blob.readers === 0) close(blob);
  }

  /** Closes what nobody reads. */
  close(): void {
    for (const digest of [...this.#blobs.keys()]) this.forget(digest);
  }

  #release(digest: Digest, blob: OpenBlob): void {
    if (--blob.readers > 0) return;
    if (this.#blobs.get(digest) !== blob) {
      close(blob);
      return;
    }
    blob.timer = setTimeout(() => this.forget(digest), IDLE_MS);
    blob.timer.unref();
  }
}

function close(blob: OpenBlob): void {
  clearTimeout(blob.timer);
  blob.handle.then((handle) => handle.close()).catch(() => undefined); // it was only read
}
