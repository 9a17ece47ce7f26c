import { stat } from 'node:fs/promises';

/** Threads for file operations. */
const THREADS = 16;
const VARIABLE = 'UV_THREADPOOL_SIZE';

/**
 * Gives this process more threads for file operations than libuv's four: when the disk is slow, a
 * few layers that are being synced must not keep every other read waiting. To be called before any
 * asynchronous file operation. libuv reads the number from the environment once, when the first
 * operation is queued; what was there before is put back, so that no child inherits ours.
 */
export async function widenThreadPool(): Promise<void> {
  const before = process.env[VARIABLE];
  if (before !== undefined) return; // whoever set it knows why
  process.env[VARIABLE] = String(THREADS);
  await stat('/');
  delete process.env[VARIABLE];
}
