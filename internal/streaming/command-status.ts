import { TsError } from '../errors/index.ts';
import { ExitError } from './streaming-backend.ts';

/**
 * What the error stream says at the end of a command: up to version 3 of the protocol a text, or nothing; from 4 on a
 * Status of Kubernetes' API (apimachinery meta/v1).
 */
export function commandStatus(thrown: unknown, version: number): string {
  if (version < 4) {
    if (thrown === undefined) return '';
    return thrown instanceof ExitError
      ? thrown.message
      : `error executing command: ${TsError.from(thrown).text}`;
  }
  const metadata = {};
  if (thrown === undefined) return JSON.stringify({ metadata, status: 'Success' });
  if (thrown instanceof ExitError) {
    return JSON.stringify({
      metadata,
      status: 'Failure',
      message: thrown.message,
      reason: 'NonZeroExitCode',
      details: { causes: [{ reason: 'ExitCode', message: String(thrown.exitCode) }] },
    });
  }
  const { text } = TsError.from(thrown);
  return JSON.stringify({
    metadata,
    status: 'Failure',
    message: `Internal error occurred: error executing command in container: ${text}`,
    reason: 'InternalError',
    details: { causes: [{ message: text }] },
    code: 500,
  });
}
