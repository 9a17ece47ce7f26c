import { parseDurationMs } from '../notation/go-duration.ts';

/** A duration of the configuration in milliseconds: '' is none, 0. NaN for a text that is no duration. */
export function durationMs(text: string): number {
  return text === '' ? 0 : (parseDurationMs(text) ?? Number.NaN);
}
