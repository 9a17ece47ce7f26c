import type { TsError } from './error.ts';

/**
 * The kernel's texts for errnos. Engines recognise errors of a runtime by these words: Podman by
 * `no such file or directory` and `permission denied`, Docker chooses exit codes 126 and 127 by
 * them, containerd's shim looks for `no such process`.
 */
const ERRNO_TEXTS: Readonly<Record<string, string>> = {
  EPERM: 'operation not permitted',
  ENOENT: 'no such file or directory',
  ESRCH: 'no such process',
  EIO: 'input/output error',
  ENXIO: 'no such device or address',
  E2BIG: 'argument list too long',
  ENOEXEC: 'exec format error',
  EBADF: 'bad file descriptor',
  EAGAIN: 'resource temporarily unavailable',
  ENOMEM: 'cannot allocate memory',
  EACCES: 'permission denied',
  EBUSY: 'device or resource busy',
  EEXIST: 'file exists',
  ENODEV: 'no such device',
  ENOTDIR: 'not a directory',
  EISDIR: 'is a directory',
  EINVAL: 'invalid argument',
  EMFILE: 'too many open files',
  ETXTBSY: 'text file busy',
  ENOSPC: 'no space left on device',
  EROFS: 'read-only file system',
  ENAMETOOLONG: 'file name too long',
  ENOSYS: 'function not implemented',
  ENOTEMPTY: 'directory not empty',
  ELOOP: 'too many levels of symbolic links',
  ELIBBAD: 'accessing a corrupted shared library',
  EOPNOTSUPP: 'operation not supported',
  ECONNREFUSED: 'connection refused',
};

/** Error for people and engines: the message with the errno's meaning, what to do, failed clean-up. */
export function errorText(error: TsError): string {
  const errno = /: (E[A-Z0-9]+)$/.exec(error.message)?.[1];
  const meaning = errno === undefined ? undefined : ERRNO_TEXTS[errno];
  const message = meaning === undefined ? error.message : `${error.message} (${meaning})`;
  const advice = error.advice === undefined ? '' : `: ${error.advice}`;
  const cleanup = error.cleanup.map((each) => `; then clean-up: ${each.message}`).join('');
  return `${message}${advice}${cleanup}`;
}
