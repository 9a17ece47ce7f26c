import { ERROR_KINDS, TsError } from '../errors/index.ts';

export interface GrpcStatus {
  readonly code: number;
  readonly details: string;
}

/**
 * A thrown value as a gRPC status. The text ends in `: ` and containerd's class text, by which Go
 * clients (errdefs/pkg/errgrpc) tell the kinds apart and which they cut off again.
 */
export function grpcStatusOf(thrown: unknown): GrpcStatus {
  const error = TsError.from(thrown);
  const { status, text } = ERROR_KINDS[error.kind];
  const details = error.text;
  // Of an unknown kind there is nothing to tell.
  const isComplete = error.kind === 'Unknown' || details === text || details.endsWith(` ${text}`);
  return { code: status, details: isComplete ? details : `${details}: ${text}` };
}
