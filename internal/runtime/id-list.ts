import { TsError } from '../errors/index.ts';

/** The greatest number of a CPU or memory node that makes sense to ask for. */
const GREATEST = 8191;

/** Reads a list of CPUs or memory nodes, `0-3,7`: its numbers in order, each once. */
export function parseIdList(text: string, property: string): number[] {
  const ids = new Set<number>();
  for (const part of text.split(',').map((each) => each.trim())) {
    if (part === '') continue;
    const match = /^([0-9]+)(?:-([0-9]+))?$/.exec(part);
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (match === null || last < first || last > GREATEST) {
      throw new TsError(
        'InvalidArgument',
        `${property}: ${JSON.stringify(text)} is no list of ids`,
        {
          advice: 'write it like "0-3,7"',
          fields: { property },
        },
      );
    }
    for (let id = first; id <= last; id++) ids.add(id);
  }
  return [...ids].sort((a, b) => a - b);
}
