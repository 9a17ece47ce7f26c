import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeSync,
} from 'node:fs';
import { isErrno, TsError } from '../errors/index.ts';
import { type Operation, Result, runInChild, steps } from '../linux/index.ts';

/**
 * The file operations that cgroup file systems know, and nothing else, so that a test can stand in
 * for the kernel. Errors of the kernel are TsErrors with the operation, the file and the errno.
 */
export interface CgroupFiles {
  /** Content without the newline at the end. */
  read(path: string): string;
  /** As `read`, undefined where the kernel has no such file or does not support reading it. */
  tryRead(path: string): string | undefined;
  /** Writes to an existing file in one write(2). */
  write(path: string, value: string): void;
  /** As `write`, for a value that makes the kernel work long: a child of this process writes it. */
  writeByChild(path: string, value: string): Operation<void>;
  exists(path: string): boolean;
  /** False if it was there already. */
  makeDirectory(path: string): boolean;
  /** False if there was none. */
  removeDirectory(path: string): boolean;
  /** Names of the directories inside; none if there is no such directory. */
  subdirectories(path: string): string[];
}

/** The kernel's own. */
export const kernelCgroupFiles: CgroupFiles = {
  read(path) {
    try {
      return readFileSync(path, 'utf8').trimEnd();
    } catch (thrown) {
      throw TsError.from(thrown, `read ${path}`);
    }
  },

  tryRead(path) {
    try {
      return readFileSync(path, 'utf8').trimEnd();
    } catch (thrown) {
      if (isErrno(thrown, 'ENOENT', 'ENODEV', 'EOPNOTSUPP', 'ENOTSUP')) return undefined;
      throw TsError.from(thrown, `read ${path}`);
    }
  },

  write(path, value) {
    const operation = () => `write ${JSON.stringify(value)} to ${path}`;
    let fd: number;
    try {
      fd = openSync(path, constants.O_WRONLY);
    } catch (thrown) {
      throw TsError.from(thrown, operation());
    }
    try {
      for (;;) {
        try {
          writeSync(fd, value);
          return;
        } catch (thrown) {
          // A limit that makes the kernel reclaim memory may be interrupted by a signal.
          if (!isErrno(thrown, 'EINTR')) throw TsError.from(thrown, operation());
        }
      }
    } finally {
      closeSync(fd);
    }
  },

  *writeByChild(path, value) {
    const label = `write ${JSON.stringify(value)} to ${path}`;
    yield* runInChild('writer', (child) => {
      const file = new Result('file');
      child.add(steps.open({ path, flags: ['O_WRONLY'] }), { into: file.field, label });
      child.add(steps.write(file, value), { label, retryOn: 'EINTR' });
    });
  },

  exists: existsSync,

  makeDirectory(path) {
    try {
      mkdirSync(path, 0o755);
      return true;
    } catch (thrown) {
      if (isErrno(thrown, 'EEXIST')) return false;
      throw TsError.from(thrown, `make cgroup ${path}`);
    }
  },

  removeDirectory(path) {
    try {
      rmdirSync(path);
      return true;
    } catch (thrown) {
      if (isErrno(thrown, 'ENOENT')) return false;
      throw TsError.from(thrown, `remove cgroup ${path}`);
    }
  },

  subdirectories(path) {
    try {
      return readdirSync(path, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name);
    } catch (thrown) {
      if (isErrno(thrown, 'ENOENT', 'ENODEV')) return []; // gone meanwhile
      throw TsError.from(thrown, `list cgroup ${path}`);
    }
  },
};
