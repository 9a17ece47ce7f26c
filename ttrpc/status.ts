/** Status codes of a call (google.rpc.Code, the numbers gRPC uses too). */
export const Code = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(Code).map(([name, number]) => [number, name]),
);

/** `NOT_FOUND` for 5; a number without a name is `CODE_N`. */
export function codeName(code: number): string {
  return NAMES.get(code) ?? `CODE_${code}`;
}

/** google.protobuf.Any: further facts about a failure, in a form both sides know. */
export interface Any {
  typeUrl: string;
  value: Uint8Array;
}

/** google.rpc.Status: how a call ended. */
export interface Status {
  code: number;
  message: string;
  details: Any[];
}

/** A call that ended with another status than OK. */
export class TtrpcError extends Error {
  override readonly name = 'TtrpcError';
  /** One of {@link Code}, or a number the peer made up. Never 0. */
  readonly code: number;
  readonly details: readonly Any[];

  constructor(
    code: number,
    message: string,
    options?: { details?: readonly Any[]; cause?: unknown },
  ) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options?.details ?? [];
  }

  /** The status as an error. */
  static fromStatus(status: Status): TtrpcError {
    return new TtrpcError(status.code, status.message, { details: status.details });
  }
}

/**
 * The status for something a handler has thrown: a TtrpcError is passed on as it is, an abort is
 * CANCELLED, a timeout DEADLINE_EXCEEDED, and all else UNKNOWN with the error's text. Causes and
 * stacks stay on this side.
 */
export function statusOf(thrown: unknown): Status {
  if (thrown instanceof TtrpcError) {
    return { code: thrown.code, message: thrown.message, details: [...thrown.details] };
  }
  if (!(thrown instanceof Error)) {
    return { code: Code.UNKNOWN, message: String(thrown), details: [] };
  }
  const code =
    thrown.name === 'AbortError'
      ? Code.CANCELLED
      : thrown.name === 'TimeoutError'
        ? Code.DEADLINE_EXCEEDED
        : Code.UNKNOWN;
  return { code, message: thrown.message, details: [] };
}
