import { MAX_DATA_LENGTH } from './frame.ts';
import { Code, TtrpcError } from './status.ts';

/** Bounds on what one connection may hold; all have defaults. */
export interface Limits {
  /** Longest data of one frame, sent or received, in bytes: 4 MiB, the most that ttrpc allows. */
  readonly maxMessageBytes?: number;
  /** Bytes of unread or unsent messages from which on the other side has to wait: 8 MiB. */
  readonly maxBufferedBytes?: number;
}

export function resolveLimits(limits: Limits): Required<Limits> {
  return {
    maxMessageBytes: Math.min(limits.maxMessageBytes ?? MAX_DATA_LENGTH, MAX_DATA_LENGTH),
    maxBufferedBytes: limits.maxBufferedBytes ?? 2 * MAX_DATA_LENGTH,
  };
}

/** The error for a message of `length` bytes on either side. */
export function tooLong(length: number, limit: number): TtrpcError {
  return new TtrpcError(
    Code.RESOURCE_EXHAUSTED,
    `message of ${length} bytes exceeds the limit of ${limit} bytes`,
  );
}
