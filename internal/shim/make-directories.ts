import { mkdir } from 'node:fs';
import { promisify } from 'node:util';

const make = promisify(mkdir);

/**
 * Makes a directory and those above it (0755), unless they are there; what is wrong is an errno of mkdir(2). `node:fs/promises`
 * would do, but loads a line editor with its history, which each shim would keep.
 */
export async function makeDirectories(path: string): Promise<void> {
  await make(path, { recursive: true, mode: 0o755 });
}
