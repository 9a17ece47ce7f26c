import { posix } from 'node:path';
import { Errno, type ErrnoName, TsError } from '../errors/index.ts';
import type { Operation } from '../linux/index.ts';
import type { CgroupFiles } from './cgroup-files.ts';

/**
 * A cgroup file system in memory, for tests of decisions: which files are written, in which order,
 * and what happens when the kernel refuses.
 */
export class FakeCgroupFiles implements CgroupFiles {
  readonly contents = new Map<string, string>();
  readonly directories = new Set<string>();
  /** `FILE=VALUE` for each write, `+DIRECTORY` and `-DIRECTORY`, without the common prefix. */
  readonly journal: string[] = [];
  /** Which files a child has written. */
  readonly childWrites: string[] = [];
  readonly #newFiles: (directory: string) => Readonly<Record<string, string>>;
  readonly #refusals: { matches: (entry: string) => boolean; errno: ErrnoName }[] = [];
  readonly #prefix: string;

  /** `newFiles` are what the kernel puts into a new directory. */
  constructor(
    prefix: string,
    newFiles: (directory: string) => Readonly<Record<string, string>> = () => ({}),
  ) {
    this.#prefix = prefix;
    this.#newFiles = newFiles;
    this.addDirectory(prefix);
  }

  /** As if it had always been there: not in the journal. */
  addDirectory(directory: string, files = this.#newFiles(directory)): void {
    this.directories.add(directory);
    for (const [name, value] of Object.entries(files)) {
      this.contents.set(`${directory}/${name}`, value);
    }
  }

  /** Makes operations whose journal entry matches fail; the first rule that matches counts. */
  refuse(matches: string | ((entry: string) => boolean), errno: ErrnoName): void {
    const test = typeof matches === 'string' ? (entry: string) => entry === matches : matches;
    this.#refusals.push({ matches: test, errno });
  }

  #record(kind: '+' | '-' | '', path: string, value: string, operation: string): void {
    const entry = `${kind}${posix.relative(this.#prefix, path)}${value}`;
    const refusal = this.#refusals.find(({ matches }) => matches(entry));
    if (refusal !== undefined) throw TsError.ofErrno(Errno[refusal.errno], operation);
    this.journal.push(entry);
  }

  read(path: string): string {
    const content = this.contents.get(path);
    if (content === undefined) throw TsError.ofErrno(Errno.ENOENT, `read ${path}`);
    return content;
  }

  tryRead(path: string): string | undefined {
    return this.contents.get(path);
  }

  // biome-ignore lint/correctness/useYield: nothing is slow here
  *writeByChild(path: string, value: string): Operation<void> {
    this.childWrites.push(posix.relative(this.#prefix, path));
    this.write(path, value);
  }

  write(path: string, value: string): void {
    const operation = `write ${JSON.stringify(value)} to ${path}`;
    if (!this.contents.has(path)) throw TsError.ofErrno(Errno.ENOENT, operation);
    this.#record('', path, `=${value}`, operation);
    this.contents.set(path, value);
  }

  exists(path: string): boolean {
    return this.directories.has(path) || this.contents.has(path);
  }

  makeDirectory(path: string): boolean {
    if (this.directories.has(path)) return false;
    const operation = `make cgroup ${path}`;
    if (!this.directories.has(posix.dirname(path))) {
      throw TsError.ofErrno(Errno.ENOENT, operation);
    }
    this.#record('+', path, '', operation);
    this.addDirectory(path);
    return true;
  }

  removeDirectory(path: string): boolean {
    if (!this.directories.has(path)) return false;
    const operation = `remove cgroup ${path}`;
    const hasProcesses = (this.contents.get(`${path}/cgroup.procs`) ?? '') !== '';
    if (hasProcesses || this.subdirectories(path).length > 0) {
      throw TsError.ofErrno(Errno.EBUSY, operation);
    }
    this.#record('-', path, '', operation);
    this.directories.delete(path);
    for (const file of [...this.contents.keys()]) {
      if (posix.dirname(file) === path) this.contents.delete(file);
    }
    return true;
  }

  subdirectories(path: string): string[] {
    return [...this.directories]
      .filter((directory) => directory !== path && posix.dirname(directory) === path)
      .map((directory) => posix.basename(directory));
  }
}
