export { Errno, type ErrnoName, errnoName, errnoNameOf, isErrno } from './errno.ts';
export { ERROR_KINDS, type ErrorDetails, type ErrorKind, TsError } from './error.ts';
