/**
 * Sparse files in tar: GNU's old format (typeflag S: runs in the header and in blocks after it) and
 * the three pax ones (GNU tar manual, "Storing Sparse Files"): 0.0 repeats records, 0.1 has one
 * comma list, 1.0 puts the list in front of the data.
 */
import { TsError } from '../errors/index.ts';
import type { SparseRun } from './tar-entry.ts';
import { tarNumber } from './tar-number.ts';
import { paxNumber } from './tar-pax.ts';

const RUN_BYTES = 24;
/** A run list longer than this is an attack on memory: a gigabyte of holes every kilobyte. */
const MAX_RUNS = 1 << 20;

/** Appends up to `count` runs found at `offset` of a header or extension block. */
export function readGnuRuns(block: Buffer, offset: number, count: number, into: SparseRun[]): void {
  for (let i = 0; i < count; i++) {
    const at = offset + i * RUN_BYTES;
    if (block[at] === 0) return;
    into.push({ offset: tarNumber(block, at, 12), length: tarNumber(block, at + 12, 12) });
  }
  if (into.length > MAX_RUNS) throw tooManyRuns();
}

/** Runs of the formats 0.0 and 0.1: numbers in pairs. */
export function runsOfNumbers(numbers: readonly number[]): SparseRun[] {
  if (numbers.length / 2 > MAX_RUNS) throw tooManyRuns();
  if (numbers.length % 2 !== 0) throw new TsError('InvalidArgument', 'sparse map: odd length');
  const runs: SparseRun[] = [];
  for (let i = 0; i < numbers.length; i += 2) {
    runs.push({ offset: numbers[i] ?? 0, length: numbers[i + 1] ?? 0 });
  }
  return runs;
}

/** Numbers of a comma list, as in GNU.sparse.map. */
export function commaNumbers(value: Buffer): number[] {
  if (value.length === 0) return [];
  const parts = value.toString('latin1').split(',');
  return parts.map((part) => paxNumber('GNU.sparse.map', Buffer.from(part, 'latin1')));
}

/**
 * The map of format 1.0, fed block by block: decimal lines, first the number of runs. Done when
 * `runs` is defined; the rest of the last block is padding.
 */
export class SparseMapParser {
  runs: SparseRun[] | undefined;
  #line = '';
  readonly #numbers: number[] = [];

  push(block: Buffer): void {
    for (const byte of block) {
      if (byte !== 0x0a) {
        this.#line += String.fromCharCode(byte);
        if (this.#line.length > 20) throw new TsError('InvalidArgument', 'sparse map: long line');
        continue;
      }
      this.#numbers.push(paxNumber('sparse map', Buffer.from(this.#line, 'latin1')));
      this.#line = '';
      const [count = 0] = this.#numbers;
      if (count > MAX_RUNS) throw tooManyRuns();
      if (this.#numbers.length === 1 + 2 * count) {
        this.runs = runsOfNumbers(this.#numbers.slice(1));
        return;
      }
    }
  }
}

/** Refuses runs that overlap, run backwards, exceed the file or do not add up to its data. */
export function checkRuns(runs: readonly SparseRun[], sizeBytes: number, dataBytes: number): void {
  let end = 0;
  let sum = 0;
  for (const run of runs) {
    if (run.offset < end) throw new TsError('InvalidArgument', 'sparse map: runs overlap');
    end = run.offset + run.length;
    sum += run.length;
  }
  if (end > sizeBytes) throw new TsError('InvalidArgument', 'sparse map: run beyond the file');
  if (sum !== dataBytes) throw new TsError('InvalidArgument', 'sparse map: data missing');
}

function tooManyRuns(): TsError {
  return new TsError('ResourceExhausted', `sparse map: more than ${MAX_RUNS} runs`);
}
