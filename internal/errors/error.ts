import { errnoName, errnoNameOf } from './errno.ts';

/**
 * What went wrong, in containerd's terms: the kind crosses gRPC and ttrpc as a status code, the
 * text is for people (containerd errdefs; google.rpc.Code).
 */
export const ERROR_KINDS = {
  Canceled: { status: 1, text: 'context canceled' },
  Unknown: { status: 2, text: 'unknown' },
  InvalidArgument: { status: 3, text: 'invalid argument' },
  DeadlineExceeded: { status: 4, text: 'context deadline exceeded' },
  NotFound: { status: 5, text: 'not found' },
  AlreadyExists: { status: 6, text: 'already exists' },
  PermissionDenied: { status: 7, text: 'permission denied' },
  ResourceExhausted: { status: 8, text: 'resource exhausted' },
  FailedPrecondition: { status: 9, text: 'failed precondition' },
  Aborted: { status: 10, text: 'aborted' },
  OutOfRange: { status: 11, text: 'out of range' },
  NotImplemented: { status: 12, text: 'not implemented' },
  Internal: { status: 13, text: 'internal' },
  Unavailable: { status: 14, text: 'unavailable' },
  DataLoss: { status: 15, text: 'data loss' },
  Unauthenticated: { status: 16, text: 'unauthorized' },
} as const;

export type ErrorKind = keyof typeof ERROR_KINDS;

export interface ErrorDetails {
  /** Stable, documented identifier, `TS_` + subject: `TS_CGROUP_DRIVER_MISMATCH`. */
  code?: string;
  cause?: unknown;
  /** One imperative sentence: what a person can do on this machine. */
  advice?: string;
  /** What a machine would want to know: id, path, errno, step. */
  fields?: Readonly<Record<string, string | number | bigint | boolean>>;
}

/**
 * The one error class of the project.
 *
 * The message is an operation and its object, lower case, without a full stop, the errno once and
 * at the end: `mount proc on /proc: EPERM`. The kind is what callers decide by.
 */
export class TsError extends Error {
  override readonly name = 'TsError';
  readonly kind: ErrorKind;
  readonly code: string | undefined;
  readonly advice: string | undefined;
  readonly fields: Readonly<Record<string, string | number | bigint | boolean>>;
  /** Failures of the clean-up after this error; they never replace it. */
  readonly cleanup: Error[] = [];

  constructor(kind: ErrorKind, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = kind;
    this.code = details.code;
    this.advice = details.advice;
    this.fields = details.fields ?? {};
  }

  /** Message and advice in one line, as a person should read it. */
  get text(): string {
    return this.advice === undefined ? this.message : `${this.message}: ${this.advice}`;
  }

  /**
   * Turns whatever was thrown into a TsError; `operation` is put in front of a foreign error's
   * text. A TsError is returned as it is. System errors keep their errno at the end of the text.
   */
  static from(thrown: unknown, operation?: string): TsError {
    if (thrown instanceof TsError) return thrown;
    const prefix = operation === undefined ? '' : `${operation}: `;
    const errno = errnoNameOf(thrown);
    if (errno !== undefined) {
      const path = (thrown as NodeJS.ErrnoException).path;
      const fields = path === undefined ? { errno } : { errno, path };
      const syscall = (thrown as NodeJS.ErrnoException).syscall;
      const what = operation ?? [syscall, path].filter((part) => part !== undefined).join(' ');
      return new TsError(kindOfErrno(errno), `${what}: ${errno}`, { cause: thrown, fields });
    }
    if (thrown instanceof Error) {
      const kind: ErrorKind =
        thrown.name === 'AbortError'
          ? 'Canceled'
          : thrown.name === 'TimeoutError'
            ? 'DeadlineExceeded'
            : 'Unknown';
      return new TsError(kind, `${prefix}${thrown.message}`, { cause: thrown });
    }
    return new TsError('Unknown', `${prefix}${String(thrown)}`);
  }

  /** A system call's failure: `operation: ENOENT`, the kind by the (positive) errno. */
  static ofErrno(
    errno: number,
    operation: string,
    fields: ErrorDetails['fields'] = {},
    advice?: string,
  ): TsError {
    const name = errnoName(errno);
    return new TsError(kindOfErrno(name), `${operation}: ${name}`, {
      fields: { errno: name, ...fields },
      ...(advice === undefined ? {} : { advice }),
    });
  }

  /** The same failure seen one level up: `context: message`, kind, code, advice and fields kept. */
  within(context: string): TsError {
    return new TsError(this.kind, `${context}: ${this.message}`, {
      cause: this,
      fields: this.fields,
      ...(this.code === undefined ? {} : { code: this.code }),
      ...(this.advice === undefined ? {} : { advice: this.advice }),
    });
  }
}

function kindOfErrno(errno: string): ErrorKind {
  switch (errno) {
    case 'ENOENT':
    case 'ESRCH':
      return 'NotFound';
    case 'EEXIST':
      return 'AlreadyExists';
    case 'EACCES':
    case 'EPERM':
      return 'PermissionDenied';
    case 'EINVAL':
      return 'InvalidArgument';
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EMFILE':
    case 'ENFILE':
    case 'ENOMEM':
      return 'ResourceExhausted';
    default:
      return 'Unknown';
  }
}
