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
  EINTR: 'interrupted system call',
  EIO: 'input/output error',
  ENXIO: 'no such device or address',
  E2BIG: 'argument list too long',
  ENOEXEC: 'exec format error',
  EBADF: 'bad file descriptor',
  EAGAIN: 'resource temporarily unavailable',
  ENOMEM: 'cannot allocate memory',
  EACCES: 'permission denied',
  EFAULT: 'bad address',
  EBUSY: 'device or resource busy',
  EEXIST: 'file exists',
  EXDEV: 'invalid cross-device link',
  ENODEV: 'no such device',
  ENOTDIR: 'not a directory',
  EISDIR: 'is a directory',
  EINVAL: 'invalid argument',
  ENFILE: 'too many open files in system',
  EMFILE: 'too many open files',
  ETXTBSY: 'text file busy',
  EFBIG: 'file too large',
  ENOSPC: 'no space left on device',
  EROFS: 'read-only file system',
  EPIPE: 'broken pipe',
  ERANGE: 'numerical result out of range',
  ENAMETOOLONG: 'file name too long',
  ENOSYS: 'function not implemented',
  ENOTEMPTY: 'directory not empty',
  ELOOP: 'too many levels of symbolic links',
  EOVERFLOW: 'value too large for defined data type',
  ELIBBAD: 'accessing a corrupted shared library',
  EOPNOTSUPP: 'operation not supported',
  ECONNREFUSED: 'connection refused',
  EDQUOT: 'disk quota exceeded',
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
