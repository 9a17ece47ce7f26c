import { TsError } from '../errors/index.ts';

/** A message field that the request must have; its name is in the InvalidArgument. */
export function required<T>(value: T | undefined, field: string): T {
  if (value !== undefined) return value;
  throw new TsError('InvalidArgument', `${field} must be set: invalid argument`, {
    code: 'TS_REQUEST_INCOMPLETE',
  });
}

/** A size or offset as a number; one that a number cannot hold is InvalidArgument. */
export function safeNumber(value: bigint, field: string): number {
  if (value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new TsError('InvalidArgument', `${field} ${value} is out of range: invalid argument`);
}
